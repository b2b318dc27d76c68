/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * net_fake - net/net.h without a network: a test connects to a listening port and has the other
 * end of the pipe.  Bytes arrive when the loop turns, in chunks of a size the test sets; what is
 * sent fills room until the test reads it, and pins are done then.
 */
#ifndef TESTS_HOST_NET_FAKE_H
#define TESTS_HOST_NET_FAKE_H

#include "net/net.h"

struct fake_peer;

/* NULL: nobody listens, or it was refused. */
struct fake_peer *fake_connect(uint16_t port);
/* What is written arrives in pieces of so many bytes at most, 0: as it was written. */
void fake_chunk(struct fake_peer *p, size_t bytes);
/* So many bytes may wait to be read; SIZE_MAX at first. */
void fake_room(struct fake_peer *p, size_t bytes);
void fake_write(struct fake_peer *p, const void *bytes, size_t n);
/* Up to n bytes that were sent; how many. */
size_t fake_read(struct fake_peer *p, void *to, size_t n);
size_t fake_readable(const struct fake_peer *p);
/* The other side has closed or reset it. */
bool fake_closed(const struct fake_peer *p);
/* We close our side (err 0) or the connection breaks.  Both sides gone, p is freed. */
void fake_hang_up(struct fake_peer *p, int err);
unsigned fake_nr_conns(void);
bool fake_listens(uint16_t port);
/* The net_ sends from now on: n succeed, then one is refused. 0: none is. */
void fake_refuse_send(struct fake_peer *p, unsigned n);

#endif
