/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Inner parts of the link: its state, shared by link.c, dial.c and accept.c. */
#ifndef LINK_LINK_PRIV_H
#define LINK_LINK_PRIV_H

#include "colod/link/conn.h"
#include "colod/link/link.h"
#include "colod/link/tcp.h"
#include "colod/link/tls.h"

#define LINK_MAX_CALLERS 8

/* A connection that was accepted and has not become a channel of the link yet. */
struct caller {
	struct tls_shake *shake; /* before there is a conn */
	struct tls_peer who;
	struct conn conn;
	struct link *link;
	bool known;    /* comes from an address of the peer */
	bool welcomed; /* a control connection that waits for its data connections */
	int data_fd[WIRE_CHANNEL_COUNT]; /* of those that came already */
	uint64_t since_us;
	struct wire_hello hello;
	char address[80];
};

enum dial_stage {
	DIAL_OFF,
	DIAL_PAUSE, /* until the next attempt */
	DIAL_CONNECT_CONTROL,
	DIAL_TLS_CONTROL,
	DIAL_HELLO_CONTROL,
	DIAL_CONNECT_DATA,
	DIAL_TLS_DATA,
	DIAL_HELLO_DATA,
};

struct link {
	struct loop *loop;
	const struct config *config;
	enum wire_channel last_channel; /* the one that makes the link whole */
	const struct link_handlers *handlers;
	void *arg;
	struct tls *tls;                             /* NULL: plain */
	struct tcp_addr peers[CONFIG_MAX_PEERS + 1]; /* the last: see link_add_address() */
	unsigned peer_count, peer_at, peers_tried;
	int listen_fd;
	struct loop_src *listen_src, *heartbeat, *callers_timer, *accept_timer;
	struct conn control; /* of the established link, or being dialed */
	struct tls_peer who; /* at its other end */
	bool up;
	uint64_t last_heard_us;
	char peer_address[300];

	struct caller callers[LINK_MAX_CALLERS];

	enum dial_stage dial_stage;
	struct conn dial_data;
	enum wire_channel dial_channel;       /* that dial_data is to become */
	int dial_data_fd[WIRE_CHANNEL_COUNT]; /* done */
	int dial_fd;                          /* connecting */
	struct loop_src *dial_src, *dial_timer;
	struct tls_shake *dial_shake;
	uint64_t dial_pause_us;
	uint64_t session;
	struct wire_hello peer_hello;
};

static inline struct tcp_addr *link_peer(struct link *k)
{
	return &k->peers[k->peer_at];
}

static inline uint64_t link_timeout_us(const struct link *k)
{
	return k->config->peer_timeout_ms * USEC_PER_MSEC;
}

/* link.c */
void link_note(struct link *k, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* @caller: whose greeting this answers, or NULL. Returns the session to be resumed that was said. */
uint64_t link_introduce(struct link *k, struct conn *c, enum wire_type type,
			enum wire_channel channel, uint64_t session,
			const struct wire_hello *caller);
void link_take_down(struct link *k);
/* @data_fd: by channel, taken over. */
void link_established(struct link *k, const struct wire_hello *peer,
		      int data_fd[WIRE_CHANNEL_COUNT], const char *address);
void link_close_data(int data_fd[WIRE_CHANNEL_COUNT]);
void link_control_message(struct conn *c, const struct wire_msg *m);
void link_control_closed(struct conn *c, const struct err *why);

/* dial.c */
int dial_init(struct link *k);
void dial_stop(struct link *k);
void dial_message(struct link *k, const struct wire_msg *m);
void dial_failed(struct link *k, const char *why);

/* accept.c */
int accept_init(struct link *k, struct err *e);
void accept_close(struct link *k);

#endif
