/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Inner parts of the proxy: the thread's state, shared by proxy*.c. */
#ifndef PROXY_PROXY_PRIV_H
#define PROXY_PROXY_PRIV_H

#include "base/worker.h"
#include "proxy/chan.h"
#include "proxy/framebuf.h"
#include "proxy/mirror.h"
#include "proxy/neigh.h"
#include "proxy/netlink.h"
#include "proxy/nfqueue.h"
#include "proxy/proxy.h"
#include "proxy/replica-net.h"
#include "proxy/rules-watch.h"
#include "proxy/tap.h"
#include "proxy/tapcount.h"

#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>

/* What the guest of this host is to the network. */
enum proxy_side {
	SIDE_SILENT,    /* not heard: before the first word, and after the last */
	SIDE_PASS,      /* runs here, nobody protects it */
	SIDE_PRIMARY,   /* runs here, held and compared */
	SIDE_SECONDARY, /* the replica */
	SIDE_RELAY,     /* does not run, and another host carries on: passes on what still comes */
	SIDE_COUNT,
};

/* Packets that the kernel may hold beyond what the compare may. */
#define QUEUE_SLACK 1024

/* More than wait in a mirror's full buffer (mirror.h: 0.35 KB for a small frame). */
#define MIRROR_FULL_BATCHES (MIRROR_RCVBUF_BYTES / 256 / MIRROR_BATCH)

/* A mirror that is being closed. */
struct closer {
	struct job job;
	struct mirror mirror;
	bool busy;
};

/* One NIC, and everything that is open on its tap. */
struct port {
	struct proxy *proxy;
	uint8_t nic;
	int tap_fd;
	struct netlink_link tap, bridge; /* bridge.index 0: routed */
	bool joined;
	bool shut;                   /* as good as out of the network, still a port of the bridge */
	bool filtered;               /* nothing reaches the guest, which stands still */
	uint64_t dropped_unfiltered; /* the tap's own drops when that began */
	bool leaving;                /* silenced, still a port of the bridge */
	struct closer closer;
	struct mirror mirror; /* of what the side needs; fd -1 when closed */
	struct loop_src *mirror_src;
	struct nfqueue *out, *in; /* held output; TCP to the guest, to be rewritten */
	struct loop_src *out_src, *in_src;
	struct tap_counters counters;
	struct tapcount count;
	bool has_origin;              /* @count has one: the tap was seen empty */
	uint64_t mirrored;            /* number of the last frame that was mirrored */
	uint64_t mark, read_at_close; /* at the last close */
	bool doubted;                 /* then, QEMU may have held the frame behind @mark */
	uint64_t frames_out_before;   /* at the last housekeeping */
	uint64_t lost, overruns;      /* already told */
	uint64_t unsent_out, unsent_in;
	uint64_t frames_in, frames_out;
	unsigned own_told;
	struct rules_traffic traffic;
};

/* What the thread tells the daemon besides finished orders; each at most once on its way. */
enum tale_kind {
	TALE_CHECKPOINT,
	TALE_WAITING,
	TALE_MARKED,
	TALE_LOST,
	TALE_NOTE,
	TALE_COUNT,
};

struct tale {
	struct mail mail;
	atomic_bool posted;
	atomic_uint_fast64_t value;
	char text[256];
};

/* The packet connection; see proxy-chan.c. */
struct chan_io {
	int fd;
	struct loop_src *src;
	uint8_t *in, *out;
	size_t in_len, out_from, out_len;
	uint64_t refused, refused_told; /* frames that found no room */
	bool urgent;                    /* something in @out must leave now */
	bool waits; /* the rest leaves with the next urgent message, or when the timer is over */
	bool wants_out;
	bool decoding;
	bool paused; /* nothing is read */
};

struct proxy {
	struct proxy_config config;
	const struct proxy_handlers *handlers;
	void *arg;

	/* the daemon's side */
	struct loop *daemon_loop;
	struct mailbox answers, tales;
	struct loop_src *answers_src, *tales_src;
	struct tale tale[TALE_COUNT];
	pthread_t thread;
	bool started;
	struct proxy_call sync_call;
	sem_t sync_done;

	/* the thread's side; a status reader takes the lock too */
	pthread_mutex_t lock;
	struct loop *loop;
	struct mailbox orders;
	struct loop_src *orders_src, *tick, *announce, *housekeeping, *leave, *lazy, *retry, *relay;
	struct worker *closer;
	bool ending;
	enum proxy_side side;
	uint64_t epoch; /* primary: last closed; secondary: last loaded */
	struct compare *compare;
	struct mismatch_ring mismatches;
	struct replica_net *replica;
	struct chan_io chan;
	struct netlink netlink;
	struct rules rules;
	bool rules_installed, rules_missing;
	uint64_t flows_saved, flows_saved_at_us; /* rewrites' changes that are in the file */
	int rules_watch_fd;
	struct loop_src *rules_watch, *rules_timer;
	uint64_t rules_restored_us;
	bool peer_mute;      /* CHAN_MUTE came */
	bool shut;           /* PROXY_SHUT, until an order that undoes it */
	uint64_t commit_due; /* committed meanwhile */
	bool closed;         /* primary: an epoch of this session */
	bool cut;            /* the connection of a primary is gone: to be seen to */

	/* secondary: last PROXY_STOPPED, and that which waits for a word of the primary */
	uint64_t stopped_epoch, fences;
	struct proxy_call *fenced, *carried_out; /* @carried_out: being so */

	/* proxy-relay.c */
	bool second_after_relay; /* the daemon has made us secondary meanwhile */
	bool hears_relay, relay_is_raw;
	unsigned left;     /* NICs of which the old host said LEFT */
	bool compares;     /* primary: the epoch since the last close */
	bool retries;      /* secondary: frames wait for room in a tap, the timer runs */
	bool told_waiting; /* primary: output of this epoch waits for its checkpoint */
	unsigned announced;
	uint64_t tick_at_us;
	struct framebuf rewritten; /* changed copies of held packets; user[0] is the id */
	uint8_t scratch[PKT_MAX_BYTES + 64];
	struct port ports[PROXY_MAX_NICS];
};

/* proxy-order.c: one order */
void proxy_carry_out(struct proxy *p, struct proxy_call *c);
void secondary_begin(struct proxy *p, uint64_t epoch);
/* Every few seconds: what rewriting needs goes when its last connection has. */
void proxy_housekeeping(struct proxy *p);

/* proxy.c: words for the daemon */
void proxy_tell(struct proxy *p, enum tale_kind kind, uint64_t value, const char *text);

/** proxy_untell_checkpoint() - the checkpoint that was asked for is the one under way: if the daemon
 * has not heard of it yet, it need not. But what was lost may be missing behind it, too. */
void proxy_untell_checkpoint(struct proxy *p);

void proxy_complain(struct proxy *p, const struct err *e);

/* The order is carried out: said at the end of its turn, or later if it is p->fenced then. */
void proxy_answer(struct proxy *p, struct proxy_call *c);

/** proxy_settle() - at the end of every handler: send what has piled up, arm the timer. */
void proxy_settle(struct proxy *p);

/* proxy-link.c: the packet connection comes and goes, the session stays */
void link_end(struct proxy *p);
void link_was_cut(struct proxy *p);
void link_resume(struct proxy *p, struct proxy_call *c);
void link_shut(struct proxy *p);

void link_unshut(struct proxy *p);

/* The guest is heard again: the network has to learn it anew. */
void link_rejoin(struct proxy *p);

/* proxy-chan.c */
int chan_io_init(struct chan_io *c, struct err *e);
void chan_io_destroy(struct chan_io *c);
int chan_io_open(struct proxy *p, int fd);
void chan_io_close(struct proxy *p);
void chan_io_send(struct proxy *p, const struct chan_msg *m);
void chan_io_flush(struct proxy *p);

/* At the end of a handler: flush, unless only what may wait a little is there. */
void chan_io_settle(struct proxy *p);
void chan_io_on_lazy(void *arg);

/* Leave unread what comes, or go on reading. */
void chan_io_pause(struct proxy *p, bool on);

/* Take in all that waits in the socket. */
void chan_io_drain(struct proxy *p);

/* proxy-primary.c */
extern const struct compare_ops proxy_compare_ops;
bool proxy_rewrites(const struct proxy *p);

/* Complete the checksum of a packet that was changed, if nobody else will. */
void rewritten_checksum(const struct nfqueue_packet *n, uint8_t *data);
int primary_side_enter(struct proxy *p, struct err *e);
void primary_side_close(struct proxy *p, const struct proxy_call *c);
void primary_side_commit(struct proxy *p, uint64_t epoch);

/* What the secondary must know of @epoch before it commits it. */
void primary_side_tell_closed(struct proxy *p, uint64_t epoch);
void primary_side_tell_waiting(struct proxy *p);
void primary_side_message(struct proxy *p, const struct chan_msg *m);
void primary_side_read_dry(struct proxy *p);
void primary_side_on_queue(void *arg, int fd, uint32_t revents);

/* proxy-input.c: what the primary's guest is given */
int primary_side_start_count(struct port *o);
void primary_side_on_mirror(void *arg, int fd, uint32_t revents);
void primary_side_read_mirror(struct port *o);

/* Find the mark: number of the last frame that the guest, which stands still, has read. */
void primary_side_place(struct port *o, const struct proxy_call *c);

/* On a new connection: which frames will not come, and the guest's addresses. */
void primary_side_tell_again(struct port *o);
void primary_side_filter(struct proxy *p);
void primary_side_unfilter(struct proxy *p);

/* proxy-relay.c: a host that the guest leaves, and the one it goes to */
void relay_begin(struct proxy *p);
void relay_end(struct proxy *p);

/* Wait for the new host's word, a while: for an end of the daemon. */
void relay_await(struct proxy *p);
void relay_message(struct proxy *p, const struct chan_msg *m);
void relay_joined(struct proxy *p, bool planned);

/* What the old host passes on; true when @m was that. */
bool relay_hears(struct proxy *p, const struct chan_msg *m);
void relay_on_timer(void *arg);

/* proxy-replica.c */
extern const struct replica_net_ops proxy_replica_ops;
int replica_side_enter(struct proxy *p, struct err *e);
void replica_side_loaded(struct proxy *p, uint64_t epoch, bool runs);
void replica_side_stopped(struct proxy *p, struct proxy_call *c);

/* The primary has answered fence @number, or UINT64_MAX: nothing more is to come of it. */
void replica_side_fenced(struct proxy *p, uint64_t number);
void replica_side_take_over(struct proxy *p, uint64_t epoch, bool planned);
void replica_side_message(struct proxy *p, const struct chan_msg *m);
void replica_side_on_mirror(void *arg, int fd, uint32_t revents);
void replica_side_on_retry(void *arg);
void replica_side_on_inbound(void *arg, int fd, uint32_t revents);

/* proxy-guard.c: the rules stay in force */
int guard_open(struct proxy *p, struct err *e);
void guard_close(struct proxy *p);

/* proxy-net.c: taps, bridges, rules, announcements */
int ports_open(struct proxy *p, struct err *e);
void ports_close(struct proxy *p);
int ports_set_rules(struct proxy *p, enum rules_mode mode, bool inbound, struct err *e);
int ports_mirror(struct proxy *p, enum mirror_direction direction, loop_io_fn fn, struct err *e);
void ports_stop_mirror(struct proxy *p);

/* Nothing from outside reaches a guest that stands still, as QEMU would keep a frame for it over a
 * load. On a primary: before its guest is stopped. Off when a port joins. */
void ports_filter(struct proxy *p, bool on);

/* Then what came before is the guest's, which still runs: its QEMU finds nothing that it could keep
 * when it stops. A guest that does not read keeps nobody waiting for longer than @wait_us. */
void ports_filter_dry(struct proxy *p, uint64_t wait_us);

/* No frame waits for the guest: the tap's own word, for all descriptors of it. */
bool port_is_read(const struct port *o);

/* As many as can; the first error. */
int ports_join(struct proxy *p, struct err *e);

/* Nothing gets out any more, nor in. */
void ports_shut(struct proxy *p, struct err *e);

/* Every few seconds while the guest is to be heard: bridges come back. */
void ports_join_again(struct proxy *p);

/* The secondary's routed taps, whose frames are mirrored and injected. */
int ports_set_routed_up(struct proxy *p, struct err *e);
void ports_mute(struct proxy *p, struct err *e);
void ports_leave(struct proxy *p);
void ports_deafen(struct proxy *p);
void ports_on_leave(void *arg);
void ports_announce(struct proxy *p);

/* A frame as if the guest sent it; @vnet: REPLICA_VNET_BYTES. */
void port_write(struct port *o, const uint8_t *vnet, const uint8_t *frame, size_t len);
static inline struct neigh *port_neigh(const struct port *o)
{
	return replica_net_neigh(o->proxy->replica, o->nic);
}
void ports_on_announce(void *arg);

#endif
