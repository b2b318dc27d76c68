/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * peer - what the Linux guest runs when Cairn is compared with it.
 *
 *	peer mark NN			a mark of the icount plugin (10, 11)
 *	peer map NAME DEVICE TYPE WORDS	a device-mapper device as large as DEVICE
 *	peer load DEVICE SIZE DEPTH WARM COUNT
 *					random reads of SIZE bytes through Linux's native
 *asynchronous I/O with O_DIRECT: WARM of them, then exactly COUNT between marks 1 and 2, DEPTH
 *outstanding all the time
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <linux/dm-ioctl.h>
#include <linux/fs.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#define MARK(nn) \
	__asm__ volatile(".byte 0x0f, 0x1f, 0x84, 0x00, " #nn ", 0x00, 0x4d, 0x6b" ::: "memory")

#define MAX_DEPTH 256

static void die(const char *what)
{
	fprintf(stderr, "peer: %s: %s\n", what, strerror(errno));
	exit(1);
}

static uint64_t device_bytes(int fd)
{
	uint64_t bytes;

	if (ioctl(fd, BLKGETSIZE64, &bytes) < 0)
		die("BLKGETSIZE64");
	return bytes;
}

static void dm_call(int control, unsigned long request, struct dm_ioctl *io, const char *name)
{
	io->version[0] = 4;
	io->data_size = sizeof(*io) + 1024;
	io->data_start = sizeof(*io);
	snprintf(io->name, sizeof(io->name), "%s", name);
	if (ioctl(control, request, io) < 0)
		die(name);
}

static int map(const char *name, const char *device, const char *type, const char *words)
{
	union {
		struct dm_ioctl io;
		char room[sizeof(struct dm_ioctl) + 1024];
	} u;
	struct dm_target_spec *spec = (void *)(u.room + sizeof(u.io));
	int control = open("/dev/mapper/control", O_RDWR), fd = open(device, O_RDONLY);

	if (control < 0 || fd < 0)
		die(device);
	memset(&u, 0, sizeof(u));
	dm_call(control, DM_DEV_CREATE, &u.io, name);
	memset(&u, 0, sizeof(u));
	u.io.target_count = 1;
	spec->length = device_bytes(fd) / 512;
	snprintf(spec->target_type, sizeof(spec->target_type), "%s", type);
	snprintf((char *)(spec + 1), 256, "%s", words);
	dm_call(control, DM_TABLE_LOAD, &u.io, name);
	memset(&u, 0, sizeof(u));
	dm_call(control, DM_DEV_SUSPEND, &u.io, name); /* no suspend flag: resume */
	return 0;
}

/* xorshift64*: the same numbers every run. */
static uint64_t next_random(void)
{
	static uint64_t x = 0x9e3779b97f4a7c15u;

	x ^= x >> 12;
	x ^= x << 25;
	x ^= x >> 27;
	return x * 0x2545f4914f6cdd1du;
}

struct load {
	aio_context_t ctx;
	int fd;
	uint64_t blocks;
	uint32_t size;
	unsigned depth;
	char *buffers;
	struct iocb iocbs[MAX_DEPTH];
	struct iocb *ready[MAX_DEPTH];
};

/* Sends exactly `count` reads and waits for the last. */
static void reads(struct load *l, uint64_t count)
{
	uint64_t sent = 0, finished = 0;
	unsigned nr_ready = 0;

	for (unsigned i = 0; i < l->depth; i++)
		l->ready[nr_ready++] = &l->iocbs[i];
	while (finished < count) {
		struct io_event events[MAX_DEPTH];
		unsigned n = nr_ready < count - sent ? nr_ready : count - sent;
		struct iocb **batch = l->ready + nr_ready - n;
		long got;

		for (unsigned i = 0; i < n; i++)
			batch[i]->aio_offset = next_random() % l->blocks * l->size;
		while (n) {
			long took = syscall(SYS_io_submit, l->ctx, (long)n, batch);

			if (took <= 0)
				die("io_submit");
			batch += took;
			n -= took;
			nr_ready -= took;
			sent += took;
		}
		got = syscall(SYS_io_getevents, l->ctx, 1L, (long)l->depth, events, NULL);
		if (got < 0)
			die("io_getevents");
		for (long i = 0; i < got; i++) {
			if (events[i].res != (int64_t)l->size) {
				errno = events[i].res < 0 ? -events[i].res : EIO;
				die("read");
			}
			l->ready[nr_ready++] = (struct iocb *)(uintptr_t)events[i].data;
		}
		finished += got;
	}
}

static int load(char **argv)
{
	static struct load l;
	uint64_t warm = strtoull(argv[3], NULL, 0), count = strtoull(argv[4], NULL, 0);
	void *memory;

	l.fd = open(argv[0], O_RDONLY | O_DIRECT);
	if (l.fd < 0)
		die(argv[0]);
	l.size = strtoul(argv[1], NULL, 0);
	l.depth = strtoul(argv[2], NULL, 0);
	if (l.depth < 1 || l.depth > MAX_DEPTH || l.size < 512 || l.size % 512)
		return 2;
	l.blocks = device_bytes(l.fd) / l.size;
	if (posix_memalign(&memory, 4096, (size_t)l.size * l.depth))
		die("memory");
	memset(memory, 0, (size_t)l.size * l.depth);
	l.buffers = memory;
	if (syscall(SYS_io_setup, (long)l.depth, &l.ctx) < 0)
		die("io_setup");
	for (unsigned i = 0; i < l.depth; i++) {
		l.iocbs[i] = (struct iocb){
			.aio_data = (uintptr_t)&l.iocbs[i],
			.aio_lio_opcode = IOCB_CMD_PREAD,
			.aio_fildes = l.fd,
			.aio_buf = (uintptr_t)(l.buffers + (size_t)i * l.size),
			.aio_nbytes = l.size,
		};
	}
	reads(&l, warm);
	MARK(0x01);
	reads(&l, count);
	MARK(0x02);
	printf("peer: %llu reads\n", (unsigned long long)count);
	return 0;
}

int main(int argc, char **argv)
{
	if (argc == 3 && !strcmp(argv[1], "mark")) {
		if (!strcmp(argv[2], "10"))
			MARK(0x10);
		else
			MARK(0x11);
		return 0;
	}
	if (argc == 6 && !strcmp(argv[1], "map"))
		return map(argv[2], argv[3], argv[4], argv[5]);
	if (argc == 7 && !strcmp(argv[1], "load"))
		return load(argv + 2);
	fprintf(stderr,
		"peer: mark NN | map NAME DEVICE TYPE WORDS | load DEVICE SIZE DEPTH WARM COUNT\n");
	return 2;
}
