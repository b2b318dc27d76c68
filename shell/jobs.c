/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * jobs - commands on fibers of their own.  A job has no input.  What it prints is kept, since
 * nothing may be printed behind a prompt unasked, until `wait` prints it and forgets the job.
 */
#include "kernel/api/errno.h"
#include "kernel/api/fiber.h"
#include "kernel/api/list.h"
#include "kernel/api/mem.h"
#include "kernel/api/string.h"
#include "kernel/api/timer.h"
#include "shell/run.h"
#include "shell/verbs.h"

#define JOBS_MAX   64
#define OUTPUT_MAX (128u * 1024)

struct job {
	struct list node;
	struct shell_io io;
	unsigned number;
	struct words words;
	char title[80]; /* its words, unless they may hold a secret */
	struct strbuf out, why;
	bool ended, stopped;
	int err;
};

static struct mem_tag jobs_tag = MEM_TAG("jobs");
static struct list jobs = LIST_INIT(jobs);
static unsigned nr_jobs;

static void job_write(struct shell_io *io, const char *s, size_t n)
{
	struct job *j = container_of(io, struct job, io);

	strbuf_write(&j->out, s, n);
}

static bool job_interrupted(struct shell_io *io)
{
	return container_of(io, struct job, io)->stopped;
}

static struct job *job_find(unsigned number)
{
	struct job *j;

	list_for_each (j, &jobs, node)
		if (j->number == number)
			return j;
	return NULL;
}

static void job_run(void *arg)
{
	struct job *j = arg;

	j->err = run_command(&j->io, NULL, &j->words, &j->why);
	words_free(&j->words);
	j->ended = true;
}

static void job_forget(struct job *j)
{
	list_del(&j->node);
	nr_jobs--;
	words_free(&j->words);
	strbuf_free(&j->out);
	strbuf_free(&j->why);
	mem_free(j);
}

static void job_name(struct job *j)
{
	struct strbuf t;

	strbuf_init_fixed(&t, j->title, sizeof(j->title));
	for (unsigned i = 0; i < j->words.argc; i++) {
		if (words_secret(j->words.argv[i])) {
			strbuf_reset(&t);
			strbuf_printf(&t, "%s ...", j->words.argv[0]);
			return;
		}
		strbuf_printf(&t, "%s%s", i ? " " : "", j->words.argv[i]);
	}
}

/* The lowest number not taken. */
static unsigned job_number(void)
{
	unsigned n = 1;

	while (job_find(n))
		n++;
	return n;
}

int job_start(struct shell_io *io, struct words *w, struct strbuf *why)
{
	struct job *j = NULL;
	int err = 0;

	if (!strcmp(w->argv[0], "wait")) {
		err = fail(why, -EINVAL, "wait: cannot be a job itself");
	} else if (nr_jobs == JOBS_MAX) {
		err = fail(why, -EAGAIN,
			"there are %u jobs already (`wait` forgets those that ended)", nr_jobs);
	} else {
		j = mem_alloc(&jobs_tag, sizeof(*j));
		if (!j)
			err = -ENOMEM;
	}
	if (!j) {
		words_free(w);
		return err;
	}
	j->io.write = job_write;
	j->io.interrupted = job_interrupted;
	j->words = *w;
	*w = (struct words){ 0 };
	strbuf_init(&j->out, OUTPUT_MAX);
	strbuf_init(&j->why, 4096);
	j->number = job_number();
	job_name(j);
	list_add_tail(&jobs, &j->node);
	nr_jobs++;
	if (!fiber_create("job", job_run, j)) {
		job_forget(j);
		return -ENOMEM;
	}
	io_printf(io, "[%u]\n", j->number);
	return 0;
}

static const char *job_state(const struct job *j)
{
	return !j->ended ? (j->stopped ? "stopping" : "running") : j->err ? "failed" : "done";
}

static int jobs_run(struct shell_io *io, unsigned argc, char **argv, struct strbuf *why)
{
	struct strbuf out = { 0 };
	struct job *j;

	list_for_each (j, &jobs, node)
		strbuf_printf(&out, "[%u] %-8s %s\n", j->number, job_state(j), j->title);
	io->write(io, strbuf_text(&out), out.len);
	strbuf_free(&out);
	return 0;
}

/* "2" or "%2" */
static int parse_number(const char *word, unsigned *number, struct strbuf *why)
{
	uint64_t v;

	if (str_to_u64(word + (*word == '%'), 10, UINT32_MAX, &v) || !job_find((unsigned)v))
		return fail(why, -EINVAL, "%s: no such job", word);
	*number = (unsigned)v;
	return 0;
}

/* Prints what it printed and forgets it; the first failure of several goes to why. */
static may_block int job_collect(struct shell_io *io, unsigned number, struct strbuf *why, int err)
{
	struct job *j;

	/* By number each time: another session may collect it while we wait. */
	while ((j = job_find(number)) && !j->ended) {
		int stop = io_sleep_until(io, now_ns() + 20 * NS_PER_MS, why);

		if (stop)
			return stop;
	}
	if (!j)
		return err;
	list_del(&j->node); /* nobody else finds it while we print */
	io_printf(io, "[%u] %s\n", number, j->title);
	io->write(io, strbuf_text(&j->out), j->out.len);
	if (j->out.truncated)
		io_puts(io, "... and more than could be kept\n");
	io_printf(io, "[%u] %s%s%s\n", number, job_state(j), j->err ? ": " : "",
		j->err ? strbuf_text(&j->why) : "");
	if (j->err && !err) {
		err = j->err;
		strbuf_printf(why, "job %u: %s", number, strbuf_text(&j->why));
	}
	job_forget(j);
	return err;
}

static may_block int wait_run(struct shell_io *io, unsigned argc, char **argv, struct strbuf *why)
{
	unsigned numbers[JOBS_MAX] = { 0 }, nr = 0;
	struct job *j;
	int err = 0;

	if (argc > JOBS_MAX)
		return fail(why, -EINVAL, "too many jobs");
	for (unsigned i = 1; i < argc; i++) {
		err = parse_number(argv[i], &numbers[nr++], why);
		if (err)
			return err;
	}
	if (argc == 1)
		list_for_each (j, &jobs, node)
			numbers[nr++] = j->number;
	for (unsigned i = 0; i < nr; i++) {
		err = job_collect(io, numbers[i], why, err);
		if (err == -EINTR && io_interrupted(io))
			break;
	}
	return err;
}

static int kill_run(struct shell_io *io, unsigned argc, char **argv, struct strbuf *why)
{
	unsigned numbers[JOBS_MAX] = { 0 };

	if (argc < 2 || argc > JOBS_MAX)
		return fail(why, -EINVAL, "which job?");
	for (unsigned i = 1; i < argc; i++) {
		int err = parse_number(argv[i], &numbers[i], why);

		if (err)
			return err;
	}
	for (unsigned i = 1; i < argc; i++)
		job_find(numbers[i])->stopped = true;
	return 0;
}

const struct verb jobs_verb = {
	.name = "jobs",
	.usage = "jobs",
	.help = "Lists the commands started with & that `wait` has not been asked about.",
	.run = jobs_run,
};

const struct verb wait_verb = {
	.name = "wait",
	.usage = "wait [<number>...]",
	.help = "Waits for these jobs, or all, and prints what they printed.\n"
		"Fails with the reason of the first that failed.",
	.run = wait_run,
};

const struct verb kill_verb = {
	.name = "kill",
	.usage = "kill <number>...",
	.help = "Asks jobs to stop, as Ctrl-C does a command.",
	.run = kill_run,
};
