// SPDX-License-Identifier: GPL-2.0-or-later
/* Answers of the daemon as text for people. */
#include "colo-ctl/format.h"

#include "colo-ctl/format-mismatch.h"
#include "colo-ctl/format-proxy.h"
#include "colo-ctl/units.h"

#include <inttypes.h>

#define LABEL "%-14s"

static bool has(struct json_object *o, const char *path)
{
	return field(o, path) != NULL;
}

static void put_guest(FILE *out, struct json_object *o)
{
	fprintf(out, LABEL "%s", "guest", field_str(o, "name").s);
	if (field_bool(o, "guest_panicked"))
		fprintf(out, ", has panicked");
	else if (has(o, "guest"))
		fprintf(out, ", %s", field_str(o, "guest").s);
	fputc('\n', out);
}

static void put_state(FILE *out, struct json_object *o)
{
	fprintf(out, LABEL "%s, %s", "state", field_str(o, "role").s, field_str(o, "state").s);
	if (has(o, "synced"))
		fprintf(out, ", %s", field_bool(o, "synced") ? "protected" : "not protected");
	fputc('\n', out);
}

static void put_sync(FILE *out, struct json_object *o)
{
	if (has(o, "sync"))
		fprintf(out, LABEL "%s of %s pages sent, %s\n", "first copy",
			field_count(o, "sync.pages_sent").s, field_count(o, "sync.pages_total").s,
			sync_text(field(o, "sync")).s);
}

static void put_peer(FILE *out, struct json_object *o)
{
	uint64_t ms;

	if (!has(o, "peer"))
		return;
	fprintf(out, LABEL "%s, %s", "peer", field_str(o, "peer.address").s,
		field_str(o, "peer.state").s);
	if (field_u64(o, "peer.last_heard_ms_ago", &ms))
		fprintf(out, ", heard %s ago", fmt_us(ms * 1000).s);
	fputc('\n', out);
}

/* Who is waited for, and why it is not decided. */
static void put_paused(FILE *out, struct json_object *o)
{
	uint64_t ms;

	if (!has(o, "paused"))
		return;
	fprintf(out, LABEL "%s", "paused",
		field_bool(o, "paused.by_order") ? "by order, until colo-ctl recover"
						 : "link lost");
	if (field_u64(o, "paused.for_ms", &ms))
		fprintf(out, ", for %s", fmt_us(ms * 1000).s);
	if (field_bool(o, "paused.output_held"))
		fprintf(out, ", output is held");
	fputc('\n', out);
	if (has(o, "paused.arbiter"))
		fprintf(out, LABEL "%s\n", "arbiter", field_str(o, "paused.arbiter").s);
}

static void put_uplink(FILE *out, struct json_object *o)
{
	struct json_object *list = field(o, "uplink.interfaces");
	const char *sep = "";

	if (!json_object_is_type(list, json_type_array))
		return;
	fprintf(out, LABEL, "uplink");
	for (size_t i = 0; i < json_object_array_length(list); i++, sep = ", ") {
		struct json_object *one = json_object_array_get_idx(list, i);

		fprintf(out, "%s%s %s", sep, field_str(one, "name").s,
			field_bool(one, "carrier") ? "alive" : "without carrier");
	}
	if (has(o, "uplink.peer_alive"))
		fprintf(out, "%sthe peer's %s", sep,
			field_bool(o, "uplink.peer_alive") ? "alive" : "dead");
	fputc('\n', out);
}

static void put_mode(FILE *out, struct json_object *o)
{
	uint64_t ms;

	if (!has(o, "mode"))
		return;
	fprintf(out, LABEL "%s", "mode", field_str(o, "mode").s);
	if (field_u64(o, "period_ms", &ms)) {
		if (ms)
			fprintf(out, ", every %" PRIu64 " ms", ms);
		else
			fprintf(out, ", as fast as possible");
	}
	/* With network cards it is the mode that says so. */
	if (has(o, "run_secondary") && !has(o, "proxy"))
		fprintf(out, ", secondary's guest %s",
			field_bool(o, "run_secondary") ? "runs" : "stands still");
	fputc('\n', out);
}

static void put_triggers(FILE *out, struct json_object *o)
{
	struct json_object *by = field(o, "checkpoints.by_trigger");
	const char *sep = " (";

	if (!json_object_is_type(by, json_type_object))
		return;
	json_object_object_foreach(by, key, value)
	{
		if (!json_object_get_int64(value))
			continue;
		fprintf(out, "%s%.32s %" PRId64, sep, key, json_object_get_int64(value));
		sep = ", ";
	}
	if (sep[0] == ',')
		fputc(')', out);
}

static void put_checkpoints(FILE *out, struct json_object *o)
{
	uint64_t ms, n;

	if (has(o, "epoch"))
		fprintf(out, LABEL "%s\n", "epoch", field_count(o, "epoch").s);
	if (!has(o, "checkpoints"))
		return;
	fprintf(out, LABEL "%s", "checkpoints", field_count(o, "checkpoints.count").s);
	put_triggers(out, o);
	if (field_u64(o, "checkpoints.failed", &n) && n)
		fprintf(out, ", %" PRIu64 " failed", n);
	if (field_u64(o, "last_checkpoint_ms_ago", &ms))
		fprintf(out, ", last %s ago", fmt_us(ms * 1000).s);
	fputc('\n', out);
}

/* False for a measurement that is missing, or of which there is no value yet. */
static bool is_measured(struct json_object *o)
{
	uint64_t count;

	if (field_u64(o, "count", &count) && !count)
		return false;
	return has(o, "p50") || has(o, "max");
}

static void put_durations(FILE *out, const char *label, struct json_object *o)
{
	if (is_measured(o))
		fprintf(out, LABEL "p50 %-9s p99 %-9s max %s\n", label, field_us(o, "p50").s,
			field_us(o, "p99").s, field_us(o, "max").s);
}

static void put_counts(FILE *out, const char *label, struct json_object *o)
{
	if (is_measured(o))
		fprintf(out, LABEL "p50 %-9s p99 %-9s last %s\n", label, field_count(o, "p50").s,
			field_count(o, "p99").s, field_count(o, "last").s);
}

static void put_pause(FILE *out, struct json_object *o)
{
	struct json_object *parts = field(o, "pause_parts_us");

	put_durations(out, "pause", field(o, "pause_us"));
	if (json_object_is_type(parts, json_type_object)) {
		json_object_object_foreach(parts, key, value)
		{
			char label[32];

			snprintf(label, sizeof(label), "  %.10s", key);
			put_durations(out, label, value);
		}
	}
	put_durations(out, "commit", field(o, "commit_us"));
	put_durations(out, "load", field(o, "load_us"));
}

static void put_pages(FILE *out, struct json_object *o)
{
	put_counts(out, "dirty pages", field(o, "dirty_pages"));
	if (has(o, "zero_pages"))
		fprintf(out, LABEL "%s\n", "zero pages", field_count(o, "zero_pages").s);
	if (has(o, "precopy_rounds"))
		fprintf(out, LABEL "%s rounds\n", "pre-copy", field_count(o, "precopy_rounds").s);
}

static void put_traffic(FILE *out, struct json_object *o)
{
	uint64_t n;

	if (field_u64(o, "bytes_sent", &n))
		fprintf(out, LABEL "%s\n", "sent", fmt_bytes(n).s);
	if (field_u64(o, "bytes_received", &n))
		fprintf(out, LABEL "%s\n", "received", fmt_bytes(n).s);
	if (field_u64(o, "bandwidth", &n) && n)
		fprintf(out, LABEL "at most %s/s\n", "bandwidth", fmt_bytes(n).s);
}

static void put_qemu(FILE *out, struct json_object *o)
{
	uint64_t bytes;

	if (has(o, "qemu"))
		fprintf(out, LABEL "%s, process %s, %s, %s\n", "qemu",
			field_str(o, "qemu.version").s, field_count(o, "qemu.pid").s,
			field_str(o, "qemu.machine").s, field_str(o, "qemu.accel").s);
	if (field_u64(o, "memory_bytes", &bytes))
		fprintf(out, LABEL "%s", "memory", fmt_memory(bytes).s);
	else if (has(o, "tracking"))
		fprintf(out, LABEL "-", "memory");
	else
		return;
	if (has(o, "tracking"))
		fprintf(out, ", tracked by %s", field_str(o, "tracking").s);
	fputc('\n', out);
}

void format_status(FILE *out, struct json_object *answer)
{
	put_guest(out, answer);
	put_state(out, answer);
	put_sync(out, answer);
	put_peer(out, answer);
	put_paused(out, answer);
	put_uplink(out, answer);
	put_mode(out, answer);
	put_checkpoints(out, answer);
	put_pause(out, answer);
	put_pages(out, answer);
	put_traffic(out, answer);
	put_qemu(out, answer);
	format_proxy(out, field(answer, "proxy"));
	/* Whole, unlike other strings: the end of a reason often says what to do. */
	put_line(out, "last error    ", field(answer, "last_error"));
}

static void format_checkpoint(FILE *out, struct json_object *answer)
{
	fprintf(out, "checkpoint: epoch %s committed, pause %s, commit %s\n",
		field_count(answer, "epoch").s, field_us(answer, "pause_us").s,
		field_us(answer, "commit_us").s);
}

static void format_failover(FILE *out, struct json_object *answer)
{
	fprintf(out, "failover: this side is now %s", field_str(answer, "role").s);
	if (has(answer, "gap_us"))
		fprintf(out, ", the guest stood still for %s", field_us(answer, "gap_us").s);
	if (has(answer, "took_us"))
		fprintf(out, ", done in %s", field_us(answer, "took_us").s);
	fputc('\n', out);
}

static void format_verify(FILE *out, struct json_object *answer)
{
	uint64_t differing, first;

	fprintf(out, "verify: %s differing pages of %s at epoch %s",
		field_count(answer, "differing_pages").s, field_count(answer, "pages").s,
		field_count(answer, "epoch").s);
	if (field_u64(answer, "differing_pages", &differing) && differing &&
	    field_u64(answer, "first_differing_page", &first))
		fprintf(out, ", the first is page %" PRIu64, first);
	fputc('\n', out);
}

void format_answer(FILE *out, const struct ctl_options *o, struct json_object *answer)
{
	switch (o->cmd) {
	case CTL_STATUS:
		format_status(out, answer);
		break;
	case CTL_CHECKPOINT:
		format_checkpoint(out, answer);
		break;
	case CTL_FAILOVER:
		format_failover(out, answer);
		break;
	case CTL_VERIFY:
		format_verify(out, answer);
		break;
	case CTL_MODE:
		fprintf(out, "mode: %s\n", o->args[0]);
		break;
	case CTL_SET:
		fprintf(out, "set: %s = %s\n", o->args[0], o->args[1]);
		break;
	case CTL_UPGRADE:
		fprintf(out, "upgrade: the daemon starts anew and finds its guest\n");
		break;
	case CTL_STOP:
		fprintf(out, "stop: the guest ends on both hosts\n");
		break;
	case CTL_MISMATCHES:
		format_mismatches(out, answer);
		break;
	case CTL_FLOWS:
		format_flows(out, answer);
		break;
	default:
		break;
	}
}

enum ctl_exit format_exit(const struct ctl_options *o, struct json_object *answer,
			  const char **reason)
{
	struct json_object *error = field(answer, "error");
	uint64_t differing;

	if (!field_bool(answer, "ok")) {
		*reason = json_object_is_type(error, json_type_string)
				  ? json_object_get_string(error)
				  : "the daemon refused without a reason";
		return CTL_EXIT_REFUSED;
	}
	if (o->cmd != CTL_VERIFY)
		return CTL_EXIT_OK;
	/* Without the figure that matters the comparison must not pass for a good one. */
	if (!field_u64(answer, "differing_pages", &differing)) {
		*reason = "the daemon's answer does not say how many pages differ";
		return CTL_EXIT_REFUSED;
	}
	return differing ? CTL_EXIT_DIFFERS : CTL_EXIT_OK;
}
