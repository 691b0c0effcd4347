// SPDX-License-Identifier: GPL-2.0-or-later
/* What the control socket can ask of the daemon. */
#include "colod/daemon/daemon-priv.h"

#include "base/cleanup.h"
#include "colod/control/control-parse.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static const char *string_arg(struct json_object *args, const char *key)
{
	struct json_object *v;

	if (!json_object_object_get_ex(args, key, &v) || !json_object_is_type(v, json_type_string))
		return NULL;
	return json_object_get_string(v);
}

static void cmd_status(struct daemon *d, struct control_request *rq, struct json_object *args)
{
	(void)args;
	control_reply(rq, daemon_status(d));
}

static void cmd_samples(struct daemon *d, struct control_request *rq, struct json_object *args)
{
	struct json_object *v;
	uint64_t count = CKPT_SAMPLES;

	if (json_object_object_get_ex(args, "count", &v))
		count = json_object_get_uint64(v);
	control_reply(rq, daemon_samples(d, count));
}

/* A checkpoint that a control client waits for. */
struct asked {
	struct ckpt_waiter waiter;
	struct control_request *rq;
};

static void add_number(struct json_object *o, const char *key, uint64_t v)
{
	json_object_object_add(o, key, json_object_new_uint64(v));
}

static void on_checkpoint(struct ckpt_waiter *w, const struct ckpt_result *r)
{
	struct asked *a = container_of(w, struct asked, waiter);
	struct json_object *o;

	if (r->status) {
		control_fail(a->rq, "no checkpoint: %s", r->reason);
		free(a);
		return;
	}
	o = json_object_new_object();
	add_number(o, "epoch", r->epoch);
	add_number(o, "pause_us", r->pause_us);
	add_number(o, "commit_us", r->commit_us);
	if (w->trigger == CKPT_BY_VERIFY) {
		add_number(o, "pages", r->pages);
		add_number(o, "differing_pages", r->differing_pages);
		if (r->differing_pages)
			add_number(o, "first_differing_page", r->first_differing_page);
	}
	control_reply(a->rq, o);
	free(a);
}

static void ask_checkpoint(struct daemon *d, struct control_request *rq, enum ckpt_trigger t)
{
	struct asked *a;

	if (d->role != ROLE_PRIMARY) {
		control_fail(rq, "this host is the secondary: ask the primary's colod");
		return;
	}
	if (d->state != FSM_COLO) {
		control_fail(rq, "no checkpoint in state %s: it takes state colo",
			     fsm_state_name(d->state));
		return;
	}
	a = calloc(1, sizeof(*a));
	if (!a) {
		control_fail(rq, "out of memory");
		return;
	}
	a->rq = rq;
	a->waiter.trigger = t;
	a->waiter.fn = on_checkpoint;
	list_init(&a->waiter.link);
	primary_request(d->primary, &a->waiter);
}

static void cmd_checkpoint(struct daemon *d, struct control_request *rq, struct json_object *args)
{
	(void)args;
	ask_checkpoint(d, rq, CKPT_BY_COMMAND);
}

static void cmd_verify(struct daemon *d, struct control_request *rq, struct json_object *args)
{
	(void)args;
	ask_checkpoint(d, rq, CKPT_BY_VERIFY);
}

void daemon_answer_switch(struct daemon *d, int status, const char *reason)
{
	struct control_request *rq = steal_ptr(&d->switch_rq);
	struct json_object *o;

	if (!rq)
		return;
	if (status) {
		control_fail(rq, "no failover: %s", reason);
		return;
	}
	o = json_object_new_object();
	json_object_object_add(o, "role", json_object_new_string(role_name(d->role)));
	add_number(o, "epoch", d->epoch);
	add_number(o, "took_us", clock_now_us() - d->switch_at_us);
	control_reply(rq, o);
}

static void cmd_failover(struct daemon *d, struct control_request *rq, struct json_object *args)
{
	struct json_object *force;
	bool forced;

	if (!json_object_object_get_ex(args, "force", &force))
		force = NULL;
	if (force && !json_object_is_type(force, json_type_boolean)) {
		control_fail(rq, "\"force\" is true or false");
		return;
	}
	forced = json_object_get_boolean(force);
	/* Whoever asked before waits for the primary, which may be stuck. */
	if (forced && d->role == ROLE_SECONDARY && (d->state == FSM_COLO || d->state == FSM_PAUSED))
		daemon_answer_switch(d, -ECANCELED, "failover --force took its place");
	if (d->switch_rq) {
		control_fail(rq, "a failover is under way already");
		return;
	}
	d->switch_rq = rq;
	d->switch_at_us = clock_now_us();
	daemon_event(d, forced ? FSM_EV_OP_FORCE : FSM_EV_OP_SWITCH, NULL);
}

static void set_key(struct daemon *d, struct control_request *rq, const char *key,
		    const char *value)
{
	struct err e;

	if (!key || !value) {
		control_fail(rq, "it takes a key and a value");
		return;
	}
	if (config_set(d->config, key, value, &e)) {
		control_fail(rq, "%s", err_msg(&e));
		return;
	}
	log_setup(d->config->name, d->config->log_level);
	log_notice("config", "%s = %s", key, value);
	if (d->proxy)
		proxy_set_timeout(d->proxy, d->config->compare_timeout_ms * USEC_PER_MSEC);
	if (d->paused_at_us && d->config->solo_allowed)
		daemon_ask_later(d, 0);
	if (d->primary)
		primary_retime(d->primary);
	control_reply(rq, NULL);
}

static void cmd_mode(struct daemon *d, struct control_request *rq, struct json_object *args)
{
	set_key(d, rq, "mode", string_arg(args, "mode"));
}

static void cmd_set(struct daemon *d, struct control_request *rq, struct json_object *args)
{
	set_key(d, rq, string_arg(args, "key"), string_arg(args, "value"));
}

static bool has_proxy(struct daemon *d, struct control_request *rq)
{
	if (!d->proxy)
		control_fail(rq,
			     "this guest has no nic = in its configuration: nothing is compared");
	return d->proxy;
}

static void cmd_flows(struct daemon *d, struct control_request *rq, struct json_object *args)
{
	uint32_t count;
	struct err e;

	if (!has_proxy(d, rq))
		return;
	if (control_parse_flows(args, &count, &e))
		control_fail(rq, "%s", err_msg(&e));
	else
		control_reply(rq, daemon_flows(d, count));
}

static void cmd_mismatches(struct daemon *d, struct control_request *rq, struct json_object *args)
{
	struct control_mismatches asked;
	struct err e;

	if (!has_proxy(d, rq))
		return;
	if (control_parse_mismatches(args, MISMATCH_RING, &asked, &e))
		control_fail(rq, "%s", err_msg(&e));
	else
		control_reply(rq, daemon_mismatches(d, asked.count, asked.packets));
}

/* Orders that the failover table refuses, or carries out at once. */
static void order(struct daemon *d, struct control_request *rq, enum fsm_event ev,
		  const char *reason)
{
	if (fsm_step(d->role, d->state, ev).action == FSM_REFUSE) {
		control_fail(rq, "%s", daemon_refusal(d, ev));
		return;
	}
	daemon_event(d, ev, reason);
	control_reply(rq, NULL);
}

static void cmd_pause(struct daemon *d, struct control_request *rq, struct json_object *args)
{
	(void)args;
	order(d, rq, FSM_EV_OP_PAUSE, "colo-ctl pause");
}

static void cmd_recover(struct daemon *d, struct control_request *rq, struct json_object *args)
{
	struct endpoint address;
	bool given;
	struct err e;

	if (control_parse_recover(args, &address, &given, &e) ||
	    (given && fsm_step(d->role, d->state, FSM_EV_OP_RECOVER).action != FSM_REFUSE &&
	     link_add_address(d->link, &address, &e))) {
		control_fail(rq, "%s", err_msg(&e));
		return;
	}
	order(d, rq, FSM_EV_OP_RECOVER, "colo-ctl recover");
}

/* Answered first: this daemon will not come back to it. */
static void cmd_upgrade(struct daemon *d, struct control_request *rq, struct json_object *args)
{
	struct err e;

	(void)args;
	if (daemon_upgrade(d, &e))
		control_fail(rq, "%s", err_msg(&e));
	else
		control_reply(rq, NULL);
}

static void cmd_stop(struct daemon *d, struct control_request *rq, struct json_object *args)
{
	(void)args;
	control_reply(rq, NULL);
	daemon_event(d, FSM_EV_OP_STOP, "colo-ctl stop");
}

void daemon_on_control(void *arg, struct control_request *rq, const char *cmd,
		       struct json_object *args)
{
	static const struct {
		const char *name;
		void (*fn)(struct daemon *d, struct control_request *rq, struct json_object *args);
		bool needs_guest;
	} commands[] = {
		{"status", cmd_status, false},
		{"samples", cmd_samples, false},
		{"checkpoint", cmd_checkpoint, true},
		{"verify", cmd_verify, true},
		{"failover", cmd_failover, true},
		{"mode", cmd_mode, false},
		{"set", cmd_set, false},
		{"flows", cmd_flows, true},
		{"mismatches", cmd_mismatches, true},
		{"pause", cmd_pause, true},
		{"recover", cmd_recover, true},
		{"upgrade", cmd_upgrade, true},
		{"stop", cmd_stop, false},
	};
	struct daemon *d = arg;

	for (size_t i = 0; i < ARRAY_SIZE(commands); i++) {
		if (strcmp(commands[i].name, cmd))
			continue;
		if (commands[i].needs_guest && !d->primary)
			control_fail(rq, "QEMU is still starting");
		else
			commands[i].fn(d, rq, args);
		return;
	}
	control_fail(rq, "unknown command \"%s\"", cmd);
}
