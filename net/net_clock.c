/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * net_clock - lwIP's periodic work.  lwIP would have a timer for each of its protocols, the fastest
 * ten times a second and for ever.  Here there is one beat of 250 ms for all of them; while TCP and
 * DHCP wait for nothing, eight beats are made up for in one go, so an idle session costs next to
 * nothing.  What happens between two beats that were put off first makes up for those that passed:
 * lwIP's clock stands right whenever lwIP looks at it.
 */
#include "net/net_priv.h"

#include "kernel/api/timer.h"
#include "lwip/dhcp.h"
#include "lwip/etharp.h"
#include "lwip/mld6.h"
#include "lwip/nd6.h"
#include "lwip/priv/tcp_priv.h"
#include "lwip/prot/dhcp.h"
#include "lwip/sys.h"

#define BEAT_NS        (TCP_TMR_INTERVAL * NS_PER_MS)
#define BEATS_A_SECOND (NS_PER_S / BEAT_NS)
#define LAZY_BEATS     8  /* so many at once while nothing is waited for */
#define BEATS_MAX      64 /* made up for after the machine was stopped; more are let go */

static struct timer beat_timer;
static uint64_t beat_ns; /* when the last beat was due */
static unsigned beats;
static bool lazy;

u32_t sys_now(void)
{
	return (u32_t)(now_ns() / NS_PER_MS);
}

static void beat(void)
{
	beats++;
	tcp_tmr();
	net_send_beat();
	if (beats % (DHCP_FINE_TIMER_MSECS / TCP_TMR_INTERVAL) == 0)
		dhcp_fine_tmr();
	if (beats % BEATS_A_SECOND)
		return;
	etharp_tmr();
	nd6_tmr();
	for (unsigned i = 0; i < 1000 / MLD6_TMR_INTERVAL; i++)
		mld6_tmr();
	if (beats % (DHCP_COARSE_TIMER_SECS * BEATS_A_SECOND) == 0)
		dhcp_coarse_tmr();
}

static void make_up(void)
{
	uint64_t late = now_ns() - beat_ns, nr = late / BEAT_NS;

	beat_ns += nr * BEAT_NS;
	for (nr = MIN(nr, (uint64_t)BEATS_MAX); nr; nr--)
		beat();
}

static bool tcp_waits(void)
{
	struct tcp_pcb *p;

	for (p = tcp_active_pcbs; p; p = p->next)
		if (p->state != ESTABLISHED || p->unsent || p->unacked || p->ooseq ||
			p->refused_data || p->keep_cnt_sent ||
			p->flags & (TF_ACK_DELAY | TF_ACK_NOW | TF_CLOSEPEND | TF_NAGLEMEMERR))
			return true;
	return false;
}

static bool dhcp_waits(void)
{
	struct nif *n;
	struct dhcp *d;

	list_for_each (n, &nifs, node) {
		d = netif_dhcp_data(&n->netif);
		if (d && n->nic->link_up && d->state != DHCP_STATE_BOUND &&
			d->state != DHCP_STATE_OFF)
			return true;
	}
	return false;
}

static void beat_run(struct timer *t __unused)
{
	make_up();
	lazy = !tcp_waits() && !dhcp_waits();
	timer_start(&beat_timer, beat_ns + (lazy ? LAZY_BEATS : 1) * BEAT_NS);
}

void net_clock_wind(void)
{
	if (likely(!lazy))
		return;
	lazy = false;
	make_up();
	timer_start(&beat_timer, beat_ns + BEAT_NS);
}

/* lwIP's word for it. */
void tcp_timer_needed(void)
{
}

void net_clock_init(void)
{
	beat_timer.fn = beat_run;
	beat_ns = now_ns();
	timer_start(&beat_timer, beat_ns + BEAT_NS);
}
