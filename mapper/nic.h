/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * nic - what network drivers make and net/ consumes: a row of frames in, a row of frames out.
 * Everything here happens on core 0.
 *
 * Received memory is the driver's: the client gets each frame as a chain of buffers, owns them, and
 * gives every one back with nic_buf_free(), in any order.  What a client keeps for long is missing
 * from the ring, so a driver has more buffers than its ring has entries, and a client that keeps
 * too many starves only itself.  Memory to be sent is the client's and stays as it is until sent().
 */
#ifndef MAPPER_NIC_H
#define MAPPER_NIC_H

#include "kernel/api/dma.h"
#include "kernel/api/list.h"
#include "kernel/api/strbuf.h"
#include "mapper/block.h" /* struct seg */

struct nic;

/* One piece of a received frame. */
struct nic_buf {
	struct nic_buf *next; /* of the same frame; the client may use it once it owns the frame */
	uint8_t *data;
	uint32_t len;
	struct nic *nic;
	uint64_t client[6]; /* the client's, as long as it owns the buffer; anything at input() */
};

/* One frame to be sent, Ethernet header first. */
struct nic_packet {
	const struct seg *segs; /* not looked at after send() returned */
	unsigned nr_segs;       /* at most nic->max_segs */
	uint32_t bytes;
	/* Offloads, 0: none.  The field at csum_start + csum_offset holds the sum of the pseudo
	 * header; the device adds what comes from csum_start on.  With gso_size the device cuts TCP
	 * into segments of so many bytes behind the first hdr_len ones. */
	uint16_t csum_start, csum_offset;
	uint16_t gso_size, hdr_len;
	bool ipv6;
	void *token; /* not NULL */
};

struct nic_client {
	/* A frame of `bytes` bytes.  csum_ok: the TCP or UDP checksum in it need not be looked at.
	 */
	void (*input)(struct nic *nic, struct nic_buf *frame, uint32_t bytes, bool csum_ok);
	/* There is no further frame for the moment: what the client put off for one is due. */
	void (*input_end)(struct nic *nic);
	/* The device reads the memory of that packet no more (sent, or never to be). */
	void (*sent)(struct nic *nic, void *token);
	void (*link_changed)(struct nic *nic);
};

struct nic_ops {
	/* Queues a frame; the driver tells the device once for all that was queued in a turn of the
	 * loop.  0 or -EAGAIN: the ring is full, some sent() comes before it has room; -EINVAL:
	 * beyond the limits; -ENODEV: gone. */
	int (*send)(struct nic *nic, const struct nic_packet *p);
	void (*buf_free)(struct nic *nic, struct nic_buf *b);
	/* Appends words for `ip -d link` and the log. */
	void (*describe)(struct nic *nic, struct strbuf *out);
};

struct nic_stats {
	uint64_t rx_frames, rx_bytes, rx_errors, rx_dropped;
	uint64_t tx_frames, tx_bytes, tx_errors;
};

struct nic {
	char name[16]; /* "eth0", given by nic_register() in order of registration */
	uint8_t mac[6];
	uint16_t mtu; /* IP bytes in a frame */
	bool link_up;
	bool tx_csum, tx_tso4, tx_tso6; /* which offloads a packet may ask for */
	bool rx_big;                    /* frames of up to 64 KiB may come in */
	unsigned max_segs;
	unsigned spare_bufs; /* for receiving, neither with the device nor with the client */
	const struct nic_ops *ops;
	void *ctx; /* the driver's */
	struct nic_stats stats;

	const struct nic_client *client; /* NULL: frames are dropped */
	void *client_ctx;                /* the client's */
	struct list node;
};

/* Gives it its name and makes it known; 0 or -errno. */
int nic_register(struct nic *nic);
struct nic *nic_next(struct nic *prev); /* in order of registration; NULL begins and ends */
struct nic *nic_find(const char *name);
void nic_set_client(struct nic *nic, const struct nic_client *client, void *ctx);

static inline void nic_buf_free(struct nic_buf *b)
{
	b->nic->ops->buf_free(b->nic, b);
}

/* Host tests, after a host_reset(): forgets all. */
void nic_reset(void);

#endif
