/* SPDX-License-Identifier: BSD-2-Clause */
/* ip, ping - the machine's addresses, and whether another one answers. */
#include "kernel/api/string.h"
#include "kernel/api/timer.h"
#include "net/net.h"
#include "shell/run.h"
#include "shell/verbs.h"

static may_block int ip_run(struct shell_io *io, unsigned argc, char **argv, struct strbuf *why)
{
	struct strbuf out = { 0 };
	int err = net_ip(argc - 1, argv + 1, &out, why);

	io->write(io, strbuf_text(&out), out.len);
	strbuf_free(&out);
	return err;
}

const struct verb ip_verb = {
	.name = "ip",
	.usage = "ip addr|link|route [show [dev <nic>]] | ...",
	.help = "addr add|del <address>/<bits> dev <nic>     ends DHCP there\n"
		"addr flush dev <nic>\n"
		"link set <nic> up|down\n"
		"route add default via <address> [dev <nic>]   route del default",
	.run = ip_run,
};

struct ping_words {
	const char *address;
	uint64_t count, bytes, wait;
};

static int parse(unsigned argc, char **argv, struct ping_words *w, struct strbuf *why)
{
	for (unsigned i = 1; i < argc; i++) {
		uint64_t *to = !strcmp(argv[i], "-c")   ? &w->count
			       : !strcmp(argv[i], "-s") ? &w->bytes
			       : !strcmp(argv[i], "-W") ? &w->wait
							: NULL;
		uint64_t max = to == &w->bytes ? 1400 : 1000000;

		if (to) {
			if (i + 1 == argc || str_to_u64(argv[++i], 10, max, to))
				return fail(why, -EINVAL,
					"ping: %s: a number is missing or too large", argv[i]);
		} else if (argv[i][0] == '-' || w->address) {
			return fail(why, -EINVAL, "ping: %.60s: not expected", argv[i]);
		} else {
			w->address = argv[i];
		}
	}
	return w->address ? 0 : fail(why, -EINVAL, "ping: which address?");
}

static void say_time(struct shell_io *io, uint64_t ns)
{
	io_printf(io, "%llu.%03llu", (unsigned long long)ns / 1000000,
		(unsigned long long)ns / 1000 % 1000);
}

static may_block int ping_run(struct shell_io *io, unsigned argc, char **argv, struct strbuf *why)
{
	struct ping_words w = { .count = 4, .bytes = 56, .wait = 1 };
	uint64_t start = now_ns(), least = UINT64_MAX, most = 0, sum = 0;
	unsigned sent, got = 0;
	int err = parse(argc, argv, &w, why);

	for (sent = 0; !err && sent < w.count && !io_interrupted(io);) {
		uint64_t next = now_ns() + NS_PER_S;
		struct net_ping a;
		int e = net_ping(w.address, ++sent, (unsigned)w.bytes, w.wait * NS_PER_S, &a);

		if (e == -EINVAL)
			return fail(why, e, "ping: %.60s: Name or service not known", w.address);
		if (sent == 1)
			io_printf(io, "PING %.60s (%.60s) %llu(%llu) bytes of data.\n", w.address,
				w.address, (unsigned long long)w.bytes,
				(unsigned long long)w.bytes + 28);
		if (!e) {
			got++;
			sum += a.ns;
			least = MIN(least, a.ns);
			most = MAX(most, a.ns);
			io_printf(io, "%u bytes from %s: icmp_seq=%u ttl=%u time=", a.bytes,
				a.address, a.seq, a.ttl);
			say_time(io, a.ns);
			io_puts(io, " ms\n");
		} else if (e == -EHOSTUNREACH) {
			io_puts(io, "ping: sendmsg: Network is unreachable\n");
		}
		if (sent < w.count)
			err = io_sleep_until(io, next, why) ? -EINTR : 0;
	}
	if (err && err != -EINTR)
		return err;
	io_printf(io,
		"\n--- %.60s ping statistics ---\n%u packets transmitted, %u received, "
		"%u%% packet loss, time %llums\n",
		w.address, sent, got, sent ? (sent - got) * 100 / sent : 0,
		(unsigned long long)(now_ns() - start) / 1000000);
	if (got) {
		io_puts(io, "rtt min/avg/max = ");
		say_time(io, least);
		io_puts(io, "/");
		say_time(io, sum / got);
		io_puts(io, "/");
		say_time(io, most);
		io_puts(io, " ms\n");
	}
	strbuf_reset(why);
	return got ? 0 : fail(why, -ETIMEDOUT, "%.60s does not answer", w.address);
}

const struct verb ping_verb = {
	.name = "ping",
	.usage = "ping [-c <count>] [-s <bytes>] [-W <seconds>] <address>",
	.help = "Asks another machine for an echo.",
	.run = ping_run,
};
