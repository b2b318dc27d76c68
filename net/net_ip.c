/* SPDX-License-Identifier: BSD-2-Clause */
/* net_ip - `ip addr`, `ip route`, `ip link` in the words of Linux's iproute2. */
#include "net/net_priv.h"

#include "kernel/api/string.h"
#include "lwip/dhcp.h"
#include "lwip/ip6_addr.h"

/* The words of one command, and where its answer goes. */
struct ip_cmd {
	char **argv;
	unsigned argc;
	struct strbuf *out, *why;
};

static int __printf(2, 3) bad(struct ip_cmd *c, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	strbuf_vprintf(c->why, fmt, ap);
	va_end(ap);
	strbuf_printf(c->out, "%s\n", strbuf_text(c->why));
	return -EINVAL;
}

static bool word_is(const char *word, const char *full)
{
	size_t n = strlen(word);

	return n && !strncmp(word, full, n);
}

static unsigned index_of(const struct nif *n)
{
	unsigned i = 2;
	struct nif *m;

	list_for_each (m, &nifs, node) {
		if (m == n)
			break;
		i++;
	}
	return i;
}

static unsigned prefix_of(const ip4_addr_t *mask)
{
	uint32_t m = ~lwip_ntohl(ip4_addr_get_u32(mask));

	return m ? (unsigned)__builtin_clz(m) : 32;
}

/* ---- show ---- */

static void show_link(struct ip_cmd *c, struct nif *n)
{
	const uint8_t *m = n->nic->mac;
	bool admin = netif_is_up(&n->netif), up = netif_is_link_up(&n->netif);

	strbuf_printf(c->out,
		"%u: %s: <%sBROADCAST,MULTICAST%s%s> mtu %u qdisc noqueue state %s "
		"group default qlen 1000\n"
		"    link/ether %02x:%02x:%02x:%02x:%02x:%02x brd ff:ff:ff:ff:ff:ff\n",
		index_of(n), n->nic->name, admin && !up ? "NO-CARRIER," : "", admin ? ",UP" : "",
		admin && up ? ",LOWER_UP" : "", n->nic->mtu, admin && up ? "UP" : "DOWN", m[0],
		m[1], m[2], m[3], m[4], m[5]);
}

static void show_lo(struct ip_cmd *c, bool addresses)
{
	strbuf_puts(c->out, "1: lo: <LOOPBACK,UP,LOWER_UP> mtu 65536 qdisc noqueue state UNKNOWN "
			    "group default qlen 1000\n"
			    "    link/loopback 00:00:00:00:00:00 brd 00:00:00:00:00:00\n");
	if (addresses)
		strbuf_puts(c->out, "    inet 127.0.0.1/8 scope host lo\n"
				    "       valid_lft forever preferred_lft forever\n");
}

static void show_addresses(struct ip_cmd *c, struct nif *n)
{
	const ip4_addr_t *a = netif_ip4_addr(&n->netif), *mask = netif_ip4_netmask(&n->netif);
	bool lease = n->dhcp && dhcp_supplied_address(&n->netif);
	struct dhcp *d = netif_dhcp_data(&n->netif);

	if (!ip4_addr_isany(a)) {
		ip4_addr_t brd = { ip4_addr_get_u32(a) | ~ip4_addr_get_u32(mask) };
		char text[IP4ADDR_STRLEN_MAX], brd_text[IP4ADDR_STRLEN_MAX];

		ip4addr_ntoa_r(a, text, sizeof(text));
		ip4addr_ntoa_r(&brd, brd_text, sizeof(brd_text));
		strbuf_printf(c->out, "    inet %s/%u brd %s scope global %s%s\n", text,
			prefix_of(mask), brd_text, lease ? "dynamic " : "", n->nic->name);
		if (lease && d)
			strbuf_printf(c->out, "       valid_lft %usec preferred_lft %usec\n",
				d->offered_t0_lease, d->offered_t0_lease);
		else
			strbuf_puts(c->out, "       valid_lft forever preferred_lft forever\n");
	}
	for (s8_t i = 0; i < LWIP_IPV6_NUM_ADDRESSES; i++) {
		const ip6_addr_t *a6 = netif_ip6_addr(&n->netif, i);
		char text[IP6ADDR_STRLEN_MAX];
		bool link = ip6_addr_islinklocal(a6);

		if (!ip6_addr_isvalid(netif_ip6_addr_state(&n->netif, i)))
			continue;
		ip6addr_ntoa_r(a6, text, sizeof(text));
		if (strchr(text, '%'))
			*strchr(text, '%') = 0;
		for (char *p = text; *p; p++)
			*p |= *p >= 'A' && *p <= 'F' ? 32 : 0;
		strbuf_printf(c->out,
			"    inet6 %s/64 scope %s\n"
			"       valid_lft forever preferred_lft forever\n",
			text, link ? "link" : "global");
	}
}

static int show(struct ip_cmd *c, bool addresses)
{
	const char *dev = NULL;
	struct nif *n;

	while (c->argc) {
		if (word_is(c->argv[0], "show") || !strcmp(c->argv[0], "dev"))
			;
		else
			dev = c->argv[0];
		c->argv++;
		c->argc--;
	}
	if (dev && strcmp(dev, "lo") && !nif_find(dev))
		return bad(c, "Device \"%.40s\" does not exist.", dev);
	if (!dev || !strcmp(dev, "lo"))
		show_lo(c, addresses);
	list_for_each (n, &nifs, node) {
		if (dev && strcmp(dev, n->nic->name))
			continue;
		show_link(c, n);
		if (addresses)
			show_addresses(c, n);
	}
	return 0;
}

static int show_routes(struct ip_cmd *c)
{
	struct nif *n;

	list_for_each (n, &nifs, node) {
		const ip4_addr_t *gw = netif_ip4_gw(&n->netif);

		if (!ip4_addr_isany(gw))
			strbuf_printf(c->out, "default via %s dev %s %s\n", ip4addr_ntoa(gw),
				n->nic->name, n->dhcp ? "proto dhcp" : "");
	}
	list_for_each (n, &nifs, node) {
		const ip4_addr_t *a = netif_ip4_addr(&n->netif), *m = netif_ip4_netmask(&n->netif);
		ip4_addr_t net = { ip4_addr_get_u32(a) & ip4_addr_get_u32(m) };
		char text[IP4ADDR_STRLEN_MAX];

		if (ip4_addr_isany(a))
			continue;
		ip4addr_ntoa_r(&net, text, sizeof(text));
		strbuf_printf(c->out, "%s/%u dev %s proto kernel scope link src %s \n", text,
			prefix_of(m), n->nic->name, ip4addr_ntoa(a));
	}
	return 0;
}

/* ---- change ---- */

/* "A/N" */
static int parse_prefix(struct ip_cmd *c, char *word, ip_addr_t *a, unsigned *len)
{
	char *slash = strchr(word, '/');
	uint64_t v = 0;
	bool ok;

	if (slash)
		*slash = 0;
	ok = ipaddr_aton(word, a);
	if (ok && slash)
		ok = !str_to_u64(slash + 1, 10, IP_IS_V4(a) ? 32 : 128, &v);
	else if (ok)
		v = IP_IS_V4(a) ? 32 : 128;
	if (slash)
		*slash = '/';
	if (!ok)
		return bad(c, "Error: any valid prefix is expected rather than \"%.60s\".", word);
	*len = (unsigned)v;
	return 0;
}

/* "... dev D": the interface. */
static struct nif *parse_dev(struct ip_cmd *c, bool must)
{
	struct nif *n;

	for (unsigned i = 0; i + 1 < c->argc; i++) {
		if (strcmp(c->argv[i], "dev"))
			continue;
		n = nif_find(c->argv[i + 1]);
		if (!n)
			bad(c, "Cannot find device \"%.40s\"", c->argv[i + 1]);
		return n;
	}
	if (must)
		bad(c, "Not enough information: \"dev\" argument is required.");
	return NULL;
}

static void end_dhcp(struct nif *n)
{
	if (!n->dhcp)
		return;
	n->dhcp = false;
	dhcp_release_and_stop(&n->netif);
	dhcp_cleanup(&n->netif);
}

static int addr_add4(struct ip_cmd *c, struct nif *n, const ip4_addr_t *a, unsigned len)
{
	ip4_addr_t mask = { lwip_htonl(len ? ~0u << (32 - len) : 0) };

	if (!n->dhcp && ip4_addr_eq(a, netif_ip4_addr(&n->netif))) {
		strbuf_puts(c->out, "RTNETLINK answers: File exists\n");
		strbuf_puts(c->why, "this address is there already");
		return -EEXIST;
	}
	if (!n->dhcp && !ip4_addr_isany(netif_ip4_addr(&n->netif)))
		return bad(c, "Error: %s has an IPv4 address already, and one is all there can be.",
			n->nic->name);
	end_dhcp(n);
	netif_set_addr(&n->netif, a, &mask, IP4_ADDR_ANY4);
	return 0;
}

static int addr_add(struct ip_cmd *c)
{
	struct nif *n;
	ip_addr_t a;
	unsigned len = 0;
	s8_t slot;
	int err;

	if (!c->argc)
		return bad(c, "Error: an address is expected.");
	err = parse_prefix(c, c->argv[0], &a, &len);
	if (err)
		return err;
	n = parse_dev(c, true);
	if (!n)
		return -EINVAL;
	if (IP_IS_V4(&a)) {
		err = addr_add4(c, n, ip_2_ip4(&a), len);
	} else {
		if (netif_get_ip6_addr_match(&n->netif, ip_2_ip6(&a)) >= 0) {
			strbuf_puts(c->out, "RTNETLINK answers: File exists\n");
			strbuf_puts(c->why, "this address is there already");
			return -EEXIST;
		}
		ip6_addr_assign_zone(ip_2_ip6(&a), IP6_UNICAST, &n->netif);
		if (netif_add_ip6_address(&n->netif, ip_2_ip6(&a), &slot) != ERR_OK)
			return bad(c, "Error: no room for another IPv6 address.");
		netif_ip6_addr_set_state(&n->netif, slot, IP6_ADDR_PREFERRED);
	}
	return err;
}

static int addr_del(struct ip_cmd *c, bool flush)
{
	struct nif *n = parse_dev(c, true);
	ip_addr_t a;
	unsigned len = 0;
	s8_t i;

	if (!n)
		return -EINVAL;
	if (flush) {
		end_dhcp(n);
		netif_set_addr(&n->netif, IP4_ADDR_ANY4, IP4_ADDR_ANY4, IP4_ADDR_ANY4);
		return 0;
	}
	if (parse_prefix(c, c->argv[0], &a, &len))
		return -EINVAL;
	if (IP_IS_V4(&a) && ip4_addr_eq(ip_2_ip4(&a), netif_ip4_addr(&n->netif))) {
		end_dhcp(n);
		netif_set_addr(&n->netif, IP4_ADDR_ANY4, IP4_ADDR_ANY4, IP4_ADDR_ANY4);
		return 0;
	}
	if (IP_IS_V6(&a)) {
		i = netif_get_ip6_addr_match(&n->netif, ip_2_ip6(&a));
		if (i >= 0) {
			netif_ip6_addr_set_state(&n->netif, i, IP6_ADDR_INVALID);
			return 0;
		}
	}
	strbuf_puts(c->out, "RTNETLINK answers: Cannot assign requested address\n");
	strbuf_puts(c->why, "no such address here");
	return -ENOENT;
}

static int route_change(struct ip_cmd *c, bool add)
{
	const char *via = NULL;
	struct nif *n = NULL, *m;
	ip4_addr_t gw;

	if (!c->argc || strcmp(c->argv[0], "default"))
		return bad(c, "Error: \"%.40s\": the default route is the only one there is.",
			c->argc ? c->argv[0] : "");
	for (unsigned i = 1; i + 1 < c->argc; i++)
		if (!strcmp(c->argv[i], "via"))
			via = c->argv[i + 1];
	if (add && (!via || !ip4addr_aton(via, &gw)))
		return bad(c, "Error: inet address is expected rather than \"%.40s\".",
			via ? via : "");
	for (unsigned i = 1; i < c->argc; i++)
		if (!strcmp(c->argv[i], "dev") && !(n = parse_dev(c, true)))
			return -EINVAL;
	/* Without a device: the one whose network the gateway is in. */
	list_for_each (m, &nifs, node)
		if (!n && (add ? ip4_addr_net_eq(&gw, netif_ip4_addr(&m->netif),
					 netif_ip4_netmask(&m->netif)) &&
						  !ip4_addr_isany(netif_ip4_addr(&m->netif))
			       : !ip4_addr_isany(netif_ip4_gw(&m->netif))))
			n = m;
	if (!n) {
		strbuf_puts(c->out, add ? "Error: Nexthop has invalid gateway.\n"
					: "RTNETLINK answers: No such process\n");
		strbuf_puts(c->why,
			add ? "no network of ours has that gateway" : "there is no default route");
		return -EHOSTUNREACH;
	}
	netif_set_gw(&n->netif, add ? &gw : IP4_ADDR_ANY4);
	if (add)
		netif_set_default(&n->netif);
	return 0;
}

static int link_set(struct ip_cmd *c)
{
	const char *name = c->argc ? c->argv[0] : "", *what = c->argc ? c->argv[c->argc - 1] : "";
	struct nif *n;

	if (c->argc > 2 && !strcmp(name, "dev"))
		name = c->argv[1];
	n = nif_find(name);
	if (!n)
		return bad(c, "Cannot find device \"%.40s\"", name);
	if (!strcmp(what, "up"))
		netif_set_up(&n->netif);
	else if (!strcmp(what, "down"))
		netif_set_down(&n->netif);
	else
		return bad(c, "Error: \"%.40s\" is unknown: up or down.", what);
	return 0;
}

static int dispatch(struct ip_cmd *c)
{
	const char *object = c->argc ? c->argv[0] : "", *verb = c->argc > 1 ? c->argv[1] : "show";
	bool is_show = word_is(verb, "show") || word_is(verb, "list");

	while (!strncmp(object, "-", 1) && c->argc > 1) { /* -4, -d, ...: all is shown anyway */
		c->argv++;
		c->argc--;
		object = c->argv[0];
		verb = c->argc > 1 ? c->argv[1] : "show";
		is_show = word_is(verb, "show") || word_is(verb, "list");
	}
	c->argv += MIN(c->argc, 2u);
	c->argc -= MIN(c->argc, 2u);
	if (word_is(object, "address")) {
		if (!strcmp(verb, "add") || word_is(verb, "replace"))
			return addr_add(c);
		if (word_is(verb, "delete") || !strcmp(verb, "flush"))
			return addr_del(c, !strcmp(verb, "flush"));
		if (is_show || nif_find(verb) || !strcmp(verb, "dev"))
			return show(c, true);
	} else if (word_is(object, "link")) {
		if (!strcmp(verb, "set"))
			return link_set(c);
		if (is_show)
			return show(c, false);
	} else if (word_is(object, "route")) {
		if (!strcmp(verb, "add") || word_is(verb, "replace"))
			return route_change(c, true);
		if (word_is(verb, "delete"))
			return route_change(c, false);
		if (is_show)
			return show_routes(c);
	} else {
		return bad(c, "Object \"%.40s\" is unknown, try \"help ip\".", object);
	}
	return bad(c, "Command \"%.40s\" is unknown, try \"help ip\".", verb);
}

int net_ip(unsigned argc, char **argv, struct strbuf *out, struct strbuf *why)
{
	struct ip_cmd c = { .argv = argv, .argc = argc, .out = out, .why = why };

	net_clock_wind();
	return dispatch(&c);
}

void net_first_address(char text[NET_ADDR_TEXT])
{
	struct nif *n;

	text[0] = 0;
	list_for_each (n, &nifs, node) {
		if (ip4_addr_isany(netif_ip4_addr(&n->netif)))
			continue;
		ip4addr_ntoa_r(netif_ip4_addr(&n->netif), text, NET_ADDR_TEXT);
		return;
	}
}
