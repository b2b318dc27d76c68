/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * icount - a QEMU TCG plugin that counts the guest's instructions and notes the counts at marks.
 *
 *	qemu-system-x86_64 -accel tcg -smp 1 ... -plugin icount.so,out=FILE
 *
 * Built for the plugin interface version 1 (QEMU 7.2); the few calls used are declared here, since
 * Debian ships no header for them.  FILE is a shared mapping of struct counters, so the counts can
 * be read while the guest runs; counters.py reads it.
 *
 * Exactness.  Each instruction adds one just before it executes, so a translation block left in the
 * middle (a fault, an I/O access) counts what it did and no more.  The adds are not atomic: one
 * virtual processor only, and the plugin refuses more.  An instruction that faults counts once more
 * when it is restarted.  QEMU runs a string instruction with a rep prefix as a loop that enters it
 * anew each iteration; hardware retires one instruction, so the first entry counts as an
 * instruction and every entry is an iteration.  An entry is a first one if any other instruction
 * executed since the entry before.
 *
 * "kernel" is what executes in the upper half of the address space, "user" is the rest.
 *
 * A mark is the instruction  nopl NN 00 4d 6b (%rax,%rax)  = 0f 1f 84 00 NN 00 4d 6b: it does
 * nothing, and no compiler emits it.  NN names the mark.
 */
#include <fcntl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

typedef uint64_t qemu_plugin_id_t;
struct qemu_plugin_tb;
struct qemu_plugin_insn;

/* The beginning of QEMU's structure of that name; the rest is not looked at. */
struct qemu_info {
	const char *target_name;
	struct {
		int min, cur;
	} version;
	bool system_emulation;
	union {
		struct {
			int smp_vcpus, max_vcpus;
		} system;
	};
};

enum { CB_NO_REGS = 0 };
enum { INLINE_ADD_U64 = 0 };

extern void qemu_plugin_register_vcpu_tb_trans_cb(
	qemu_plugin_id_t id, void (*cb)(qemu_plugin_id_t id, struct qemu_plugin_tb *tb));
extern void qemu_plugin_register_vcpu_insn_exec_inline(
	struct qemu_plugin_insn *insn, int op, void *ptr, uint64_t imm);
extern void qemu_plugin_register_vcpu_insn_exec_cb(struct qemu_plugin_insn *insn,
	void (*cb)(unsigned int vcpu, void *udata), int flags, void *udata);
extern size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *tb);
extern struct qemu_plugin_insn *qemu_plugin_tb_get_insn(
	const struct qemu_plugin_tb *tb, size_t index);
extern const void *qemu_plugin_insn_data(const struct qemu_plugin_insn *insn);
extern size_t qemu_plugin_insn_size(const struct qemu_plugin_insn *insn);
extern uint64_t qemu_plugin_insn_vaddr(const struct qemu_plugin_insn *insn);

#define EXPORTED __attribute__((visibility("default")))

EXPORTED int qemu_plugin_version = 1;
EXPORTED int qemu_plugin_install(
	qemu_plugin_id_t id, const struct qemu_info *info, int argc, char **argv);

#define MAGIC    0x746e756f636e7243u /* "Crncount" */
#define MAX_MARK 4096

struct counts {
	uint64_t user, kernel;           /* instructions retired */
	uint64_t user_reps, kernel_reps; /* iterations of string instructions */
};

/* All fields little-endian 64-bit words; counters.py knows the layout. */
struct counters {
	uint64_t magic;
	uint64_t nr_marks; /* ever; the file keeps the last MAX_MARK */
	struct counts now;
	uint64_t spare[2];
	struct mark {
		uint64_t id;
		struct counts at;
	} marks[MAX_MARK];
};

static struct counters *c;

static void at_mark(unsigned int vcpu, void *udata)
{
	struct mark *m = &c->marks[c->nr_marks % MAX_MARK];

	(void)vcpu;
	m->id = (uintptr_t)udata;
	m->at = c->now;
	__atomic_store_n(&c->nr_marks, c->nr_marks + 1, __ATOMIC_RELEASE);
}

/* Which string instruction was entered last, and how many instructions had executed by then. */
static uint64_t rep_vaddr, rep_when;

static void at_rep(unsigned int vcpu, void *udata)
{
	uint64_t vaddr = (uintptr_t)udata;
	bool kernel = vaddr >> 63;

	(void)vcpu;
	if (rep_vaddr != vaddr || rep_when != c->now.user + c->now.kernel)
		(*(kernel ? &c->now.kernel : &c->now.user))++;
	(*(kernel ? &c->now.kernel_reps : &c->now.user_reps))++;
	rep_vaddr = vaddr;
	rep_when = c->now.user + c->now.kernel;
}

/* movs, cmps, stos, lods, scas, ins or outs behind a rep prefix, whatever other prefixes there are.
 */
static bool is_rep_string(const uint8_t *p, size_t n)
{
	bool rep = false;

	for (size_t i = 0; i < n; i++) {
		uint8_t b = p[i];

		if (b == 0xf2 || b == 0xf3) {
			rep = true;
		} else if ((b & 0xf0) == 0x40 || (b & 0xe7) == 0x26 || (b >= 0x64 && b <= 0x67) ||
			   b == 0xf0) {
			continue;
		} else {
			return rep && ((b >= 0xa4 && b <= 0xa7) || (b >= 0xaa && b <= 0xaf) ||
					      (b >= 0x6c && b <= 0x6f));
		}
	}
	return false;
}

static bool is_mark(const uint8_t *p, size_t n)
{
	return n == 8 && p[0] == 0x0f && p[1] == 0x1f && p[2] == 0x84 && p[3] == 0 && p[5] == 0 &&
	       p[6] == 0x4d && p[7] == 0x6b;
}

static void translated(qemu_plugin_id_t id, struct qemu_plugin_tb *tb)
{
	size_t n = qemu_plugin_tb_n_insns(tb);

	(void)id;
	for (size_t i = 0; i < n; i++) {
		struct qemu_plugin_insn *insn = qemu_plugin_tb_get_insn(tb, i);
		uint64_t vaddr = qemu_plugin_insn_vaddr(insn);
		const uint8_t *bytes = qemu_plugin_insn_data(insn);
		size_t size = qemu_plugin_insn_size(insn);

		if (is_rep_string(bytes, size)) {
			qemu_plugin_register_vcpu_insn_exec_cb(
				insn, at_rep, CB_NO_REGS, (void *)(uintptr_t)vaddr);
			continue;
		}
		if (is_mark(bytes, size))
			qemu_plugin_register_vcpu_insn_exec_cb(
				insn, at_mark, CB_NO_REGS, (void *)(uintptr_t)bytes[4]);
		qemu_plugin_register_vcpu_insn_exec_inline(
			insn, INLINE_ADD_U64, vaddr >> 63 ? &c->now.kernel : &c->now.user, 1);
	}
}

int qemu_plugin_install(qemu_plugin_id_t id, const struct qemu_info *info, int argc, char **argv)
{
	const char *out = NULL;
	int fd;

	for (int i = 0; i < argc; i++)
		if (!strncmp(argv[i], "out=", 4))
			out = argv[i] + 4;
	if (!out) {
		fprintf(stderr, "icount: say out=FILE\n");
		return -1;
	}
	if (!info->system_emulation || info->system.max_vcpus != 1) {
		fprintf(stderr, "icount: one virtual processor only (-smp 1)\n");
		return -1;
	}
	fd = open(out, O_RDWR | O_CREAT | O_TRUNC, 0600);
	if (fd < 0 || ftruncate(fd, sizeof(*c)) < 0) {
		perror(out);
		return -1;
	}
	c = mmap(NULL, sizeof(*c), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	if (c == MAP_FAILED) {
		perror(out);
		return -1;
	}
	c->magic = MAGIC;
	qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
	return 0;
}
