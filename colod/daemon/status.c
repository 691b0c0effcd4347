// SPDX-License-Identifier: GPL-2.0-or-later
/* The daemon's state as JSON, for colo-ctl status. */
#include "colod/daemon/daemon-priv.h"
#include "colod/daemon/json.h"

static struct json_object *quantiles(const struct quantile *q, bool with_last)
{
	struct json_object *o = json_object_new_object();
	struct quantile_view v;

	quantile_view(q, &v);
	if (with_last)
		add_num(o, "last", v.last);
	add_quantiles(o, &v);
	return o;
}

static struct json_object *pause_parts(const struct ckpt_stats *st)
{
	struct json_object *o = json_object_new_object();

	add(o, "stop", quantiles(&st->stop_us, false));
	add(o, "scan", quantiles(&st->scan_us, false));
	add(o, "copy", quantiles(&st->copy_us, false));
	add(o, "save", quantiles(&st->save_us, false));
	add(o, "cont", quantiles(&st->cont_us, false));
	return o;
}

static struct json_object *checkpoints(const struct ckpt_stats *st)
{
	struct json_object *o = json_object_new_object(), *by = json_object_new_object();
	uint64_t sum = 0;

	for (unsigned t = 0; t < CKPT_TRIGGER_COUNT; t++) {
		add_num(by, ckpt_trigger_name(t), st->checkpoints[t]);
		sum += st->checkpoints[t];
	}
	add_num(o, "count", sum);
	add_num(o, "failed", st->failed_checkpoints);
	add(o, "by_trigger", by);
	return o;
}

static struct json_object *resumes(const struct ckpt_stats *st)
{
	struct json_object *o = json_object_new_object();

	add_num(o, "count", st->resumes);
	add_num(o, "saved_pages", st->resume_saved_pages);
	add_num(o, "resent_pages", st->resume_resent_pages);
	return o;
}

static void add_ms_ago(struct json_object *o, const char *key, uint64_t at_us)
{
	if (at_us)
		add_num(o, key, (clock_now_us() - at_us) / USEC_PER_MSEC);
	else
		add(o, key, NULL);
}

static struct json_object *peer(const struct daemon *d)
{
	static const char *const names[] = {
		[LINK_DOWN] = "lost", [LINK_CONNECTING] = "connecting", [LINK_UP] = "connected"};
	struct json_object *o = json_object_new_object();
	enum link_state s = link_state(d->link);
	bool waits = s == LINK_DOWN && d->role == ROLE_SECONDARY && d->state == FSM_SETUP;

	add_str(o, "address", link_peer_address(d->link));
	add_str(o, "state", waits ? "awaited" : names[s]);
	add_ms_ago(o, "last_heard_ms_ago", link_last_heard_us(d->link));
	return o;
}

/* Since when, by whom, and what the one says who may end it without the peer. */
static struct json_object *paused(const struct daemon *d)
{
	struct json_object *o = json_object_new_object();

	add_ms_ago(o, "for_ms", d->paused_at_us);
	add_bool(o, "by_order", d->by_order);
	add_bool(o, "output_held", d->role == ROLE_PRIMARY && !d->alone);
	add_str(o, "arbiter", d->arbiter_says[0] ? d->arbiter_says : NULL);
	return o;
}

static struct json_object *arbiter(const struct daemon *d)
{
	struct json_object *o = json_object_new_object();

	add_str(o, "kind", arbiter_kind_name(d->config->arbiter));
	add_str(o, "state", arbiter_state(d->arbiter));
	add_bool(o, "alone", d->alone);
	return o;
}

static struct json_object *sync(const struct ckpt_progress *g)
{
	struct json_object *o = json_object_new_object();
	uint64_t sent = g->pages_total - g->pages_left;

	add_num(o, "pages_total", g->pages_total);
	add_num(o, "pages_sent", sent);
	add_num(o, "percent", g->pages_total ? sent * 100 / g->pages_total : 100);
	if (g->known)
		add_num(o, "seconds_left", g->seconds_left);
	else
		add(o, "seconds_left", NULL);
	return o;
}

static struct json_object *qemu(const struct guest *g)
{
	struct json_object *o = json_object_new_object();

	add_str(o, "version", g->version);
	add_num(o, "pid", (uint64_t)g->pid);
	add_str(o, "machine", g->machine);
	add_str(o, "accel", g->accel);
	add_num(o, "vcpus", g->vcpus);
	return o;
}

static const char *guest_state(const struct daemon *d)
{
	if (!d->guest || !d->primary)
		return "starting";
	if (d->guest_panicked)
		return "panicked";
	return d->guest_runs || primary_holds_guest(d->primary) ? "running" : "paused";
}

static void add_measurements(const struct daemon *d, struct json_object *o)
{
	const struct ckpt_stats *st = &d->stats;

	add_ms_ago(o, "last_checkpoint_ms_ago", st->last_commit_at_us);
	add(o, "checkpoints", checkpoints(st));
	add(o, "resumes", resumes(st));
	add(o, "pause_us", quantiles(&st->pause_us, false));
	add(o, "pause_parts_us", pause_parts(st));
	add(o, "commit_us", quantiles(&st->commit_us, false));
	add(o, "load_us", quantiles(&st->load_us, false));
	add(o, "dirty_pages", quantiles(&st->dirty_pages, true));
	add(o, "last_pages", quantiles(&st->last_pages, true));
	add(o, "device_state_bytes", quantiles(&st->devices_bytes, true));
	add_num(o, "precopy_rounds", atomic_load(&st->precopy_rounds));
	add_num(o, "bytes_sent", atomic_load(&st->bytes_sent));
	add_num(o, "bytes_received", atomic_load(&st->bytes_received));
	add_num(o, "zero_pages", atomic_load(&st->zero_pages));
}

struct json_object *daemon_status(struct daemon *d)
{
	const struct config *c = d->config;
	struct json_object *o = json_object_new_object();
	struct ckpt_progress copy;

	add_str(o, "name", c->name);
	add_str(o, "colod_version", COLOD_VERSION);
	add_str(o, "role", role_name(d->role));
	add_str(o, "state", fsm_state_name(d->state));
	add_str(o, "mode", ckpt_mode_name(c->mode));
	add_num(o, "period_ms", c->period_ms);
	add_num(o, "bandwidth", c->bandwidth_Bps);
	add_num(o, "peer_timeout_ms", c->peer_timeout_ms);
	add_num(o, "recover_timeout_ms", c->recover_timeout_ms);
	add_num(o, "epoch", daemon_epoch(d));
	if (d->primary && primary_copy_progress(d->primary, &copy))
		add(o, "sync", sync(&copy));
	add_bool(o, "synced", d->state == FSM_COLO || d->state == FSM_HANDOVER);
	add_str(o, "guest", guest_state(d));
	add_bool(o, "guest_panicked", d->guest_panicked);
	add_measurements(d, o);
	if (d->link)
		add(o, "peer", peer(d));
	if (d->paused_at_us || d->muted)
		add(o, "paused", paused(d));
	if (d->arbiter)
		add(o, "arbiter", arbiter(d));
	if (d->uplinks)
		add(o, "uplink", daemon_uplinks_status(d));
	if (d->guest)
		add(o, "qemu", qemu(d->guest));
	if (d->proxy)
		add(o, "proxy", daemon_proxy_status(d));
	add_str(o, "tracking", track_kind_name(d->track_kind));
	add_num(o, "memory_bytes", c->memory_bytes);
	add_num(o, "memory_page_bytes", c->memory_page_bytes);
	add_bool(o, "run_secondary", c->run_secondary);
	add_str(o, "last_error", d->last_err.code ? d->last_err.msg : NULL);
	return o;
}

static struct json_object *sample(const struct ckpt_sample *s)
{
	struct json_object *o = json_object_new_object();

	add_num(o, "epoch", s->epoch);
	add_num(o, "at_ms", s->committed_at_us / USEC_PER_MSEC);
	add_num(o, "pause_us", s->pause_us);
	add_num(o, "stop_us", s->stop_us);
	add_num(o, "scan_us", s->scan_us);
	add_num(o, "copy_us", s->copy_us);
	add_num(o, "save_us", s->save_us);
	add_num(o, "cont_us", s->cont_us);
	add_num(o, "commit_us", s->commit_us);
	add_num(o, "dirty_pages", s->dirty_pages);
	add_num(o, "last_pages", s->last_pages);
	return o;
}

struct json_object *daemon_samples(const struct daemon *d, uint64_t count)
{
	const struct ckpt_stats *st = &d->stats;
	struct json_object *o = json_object_new_object(), *list = json_object_new_array();
	uint64_t first;

	count = MIN(MIN(count, st->nsamples), CKPT_SAMPLES);
	first = st->nsamples - count;
	for (uint64_t i = first; i < st->nsamples; i++)
		json_object_array_add(list, sample(&st->samples[i % CKPT_SAMPLES]));
	add(o, "samples", list);
	return o;
}
