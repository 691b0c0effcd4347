// SPDX-License-Identifier: GPL-2.0-or-later
/* What the packet proxy is doing, as JSON: the proxy part of the status, flows, mismatches. */
#include "colod/daemon/daemon-priv.h"

#include "base/cleanup.h"
#include "colod/daemon/json.h"

#include <arpa/inet.h>
#include <string.h>
#include <time.h>

static struct json_object *released_by(const struct compare_stats *c)
{
	static const char *const names[RELEASE_CAUSES] = {[RELEASE_MATCH] = "match",
							  [RELEASE_COMMIT] = "commit",
							  [RELEASE_BYPASS] = "bypass",
							  [RELEASE_SOLO] = "solo"};
	struct json_object *o = json_object_new_object();

	for (int i = 0; i < RELEASE_CAUSES; i++)
		add_num(o, names[i], c->released[i]);
	return o;
}

static struct json_object *automatic(const struct daemon *d)
{
	const struct automode *a = &d->automode;
	struct json_object *o = json_object_new_object();

	add_str(o, "now", a->colo ? "colo" : "periodic");
	add_num(o, "window_ms", AUTO_WINDOW_US / USEC_PER_MSEC);
	add_num(o, "min_forced", AUTO_MIN_FORCED);
	add_num(o, "min_packets", AUTO_MIN_PACKETS);
	add_num(o, "wait_limit_us", primary_output_period_us(d->primary));
	add_num(o, "forced", a->forced);
	add_num(o, "probe_ms", a->probe_us / USEC_PER_MSEC);
	add_num(o, "switches", a->switches);
	add_str(o, "why", a->why);
	return o;
}

static struct json_object *nics(const struct daemon *d, const struct proxy_status *s)
{
	struct json_object *list = json_object_new_array();

	for (unsigned i = 0; i < s->nic_count; i++) {
		const struct proxy_nic_status *n = &s->nics[i];
		struct json_object *o = json_object_new_object();
		char mac[18];

		snprintf(mac, sizeof(mac), MAC_FMT, MAC_ARGS(d->config->nics[i].mac));
		add_str(o, "tap", n->tap);
		add_str(o, "bridge", n->bridge[0] ? n->bridge : NULL);
		add_bool(o, "joined", n->joined);
		add_str(o, "mac", mac);
		add_num(o, "frames_in", n->frames_in);
		add_num(o, "frames_out", n->frames_out);
		json_object_array_add(list, o);
	}
	return list;
}

struct json_object *daemon_proxy_status(struct daemon *d)
{
	struct json_object *o = json_object_new_object(), *mirror = json_object_new_object();
	struct json_object *hold = json_object_new_object();
	struct proxy_status s;

	proxy_get_status(d->proxy, &s);
	add_quantiles(hold, &s.hold_us);
	add_str(o, "side", s.side);
	add_str(o, "netfilter", s.netfilter);
	add_bool(o, "rules_missing", s.rules_missing);
	add_num(o, "held", s.compare.held_packets);
	add_num(o, "held_bytes", s.compare.held_bytes);
	add_num(o, "primary_packets", s.compare.primary_packets);
	add_num(o, "secondary_packets", s.compare.secondary_packets);
	add_num(o, "matched", s.compare.matched);
	add_num(o, "mismatched", s.compare.mismatched);
	add_num(o, "timed_out", s.compare.timed_out);
	add_num(o, "bypassed", s.compare.bypassed);
	add_num(o, "dropped", s.compare.dropped);
	add(o, "hold_us", hold);
	add(o, "released_by", released_by(&s.compare));
	add_num(o, "flows", s.compare.flows);
	add_num(o, "half_open", s.compare.half_open);
	add_num(o, "rewritten_flows", s.rewritten_flows);
	add_num(o, "replayed", s.replayed);
	add_num(mirror, "frames", s.mirrored);
	add_num(mirror, "lost", s.mirror_lost);
	add_num(mirror, "queue_lost", s.queue_lost);
	add(o, "mirror", mirror);
	add_str(o, "compare", s.compares ? "colo" : "periodic");
	if (d->config->mode == CKPT_MODE_AUTO)
		add(o, "auto", automatic(d));
	add(o, "nics", nics(d, &s));
	return o;
}

/* ---- flows ---- */

static void add_endpoint(struct json_object *o, const char *key, const struct ip_addr *a,
			 uint16_t port)
{
	bool is_v4 = ip_addr_is_ip4(a);
	char addr[INET6_ADDRSTRLEN], text[INET6_ADDRSTRLEN + 10];

	inet_ntop(is_v4 ? AF_INET : AF_INET6, is_v4 ? a->b + 12 : a->b, addr, sizeof(addr));
	snprintf(text, sizeof(text), is_v4 ? "%s:%u" : "[%s]:%u", addr, port);
	add_str(o, key, text);
}

static void add_key(struct json_object *o, const struct flow_key *k)
{
	char text[FLOW_TEXT_MAX];

	add_str(o, "flow", flow_key_text(k, text));
	add_num(o, "proto", k->proto);
	add_endpoint(o, "guest", &k->guest, k->guest_port);
	add_endpoint(o, "peer", &k->peer, k->peer_port);
	add_num(o, "nic", k->nic);
	add_num(o, "vlan", k->vlan);
}

static struct json_object *flow(const struct compare_flow *f)
{
	struct json_object *o = json_object_new_object();

	add_key(o, &f->key);
	add_str(o, "state", f->state);
	add_num(o, "seq_offset", f->seq_offset);
	add_num(o, "held_packets", f->held_packets);
	add_num(o, "matched_bytes", f->matched_bytes);
	add_num(o, "packets", f->packets);
	add_num(o, "idle_ms", f->idle_us / USEC_PER_MSEC);
	return o;
}

struct json_object *daemon_flows(struct daemon *d, uint32_t max)
{
	autofree struct compare_flow *list = calloc(max, sizeof(*list));
	struct json_object *o = json_object_new_object(), *a = json_object_new_array();
	size_t n = list ? proxy_list_flows(d->proxy, list, max) : 0;

	for (size_t i = 0; i < n; i++)
		json_object_array_add(a, flow(&list[i]));
	add(o, "flows", a);
	return o;
}

/* ---- mismatches ---- */

static void add_hex(struct json_object *o, const char *key, const uint8_t *data, size_t len)
{
	autofree char *text = malloc(2 * len + 1);

	if (!text)
		return;
	for (size_t i = 0; i < len; i++)
		snprintf(text + 2 * i, 3, "%02x", data[i]);
	text[2 * len] = 0;
	add_str(o, key, text);
}

static void add_side(struct json_object *o, const char *key, const struct mismatch_side *s,
		     bool packets)
{
	struct json_object *side = json_object_new_object();

	add_num(side, "len", s->len);
	add_num(side, "context_at", s->context_at);
	add_hex(side, "context", s->context, s->context_len);
	if (packets)
		add_hex(side, "packet", s->packet, s->kept);
	add(o, key, side);
}

/* The compare knows no clock but the one it is given. */
static void add_time(struct json_object *o, uint64_t at_us)
{
	struct timespec now;
	uint64_t realtime_us;
	char day[32], text[48];
	struct tm tm;
	time_t s;

	clock_gettime(CLOCK_REALTIME, &now);
	realtime_us = (uint64_t)now.tv_sec * USEC_PER_SEC + (uint64_t)now.tv_nsec / 1000 -
		      (clock_now_us() - at_us);
	s = (time_t)(realtime_us / USEC_PER_SEC);

	gmtime_r(&s, &tm);
	strftime(day, sizeof(day), "%Y-%m-%dT%H:%M:%S", &tm);
	snprintf(text, sizeof(text), "%s.%06uZ", day, (unsigned)(realtime_us % USEC_PER_SEC));
	add_str(o, "time", text);
}

static struct json_object *mismatch(const struct mismatch *m, bool packets)
{
	struct json_object *o = json_object_new_object();

	add_num(o, "number", m->number);
	add_time(o, m->at_us);
	add_str(o, "reason", mismatch_reason_name(m->reason));
	if (m->has_flow)
		add_key(o, &m->key);
	add_num(o, "offset", m->offset);
	add_num(o, "epoch", m->epoch);
	add_num(o, "checkpoint", m->checkpoint);
	add_str(o, "what", m->what);
	add_side(o, "primary", &m->primary, packets);
	add_side(o, "secondary", &m->secondary, packets);
	return o;
}

struct json_object *daemon_mismatches(struct daemon *d, uint64_t count, bool packets)
{
	autofree struct mismatch_ring *ring = malloc(sizeof(*ring));
	struct json_object *o = json_object_new_object(), *a = json_object_new_array();
	const struct mismatch *m;
	unsigned n = 0;

	add(o, "mismatches", a);
	if (!ring)
		return o;
	proxy_copy_mismatches(d->proxy, ring);
	while (n < count && mismatch_get(ring, n))
		n++;
	while (n && (m = mismatch_get(ring, --n))) /* oldest first */
		json_object_array_add(a, mismatch(m, packets));
	return o;
}
