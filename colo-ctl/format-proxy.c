// SPDX-License-Identifier: GPL-2.0-or-later
/* The proxy's part of the status, and the table of flows. */
#include "colo-ctl/format-proxy.h"

#include "base/util.h"

#include <inttypes.h>
#include <string.h>

#define LABEL "%-14s"

static void put_counters(FILE *out, const char *label, struct json_object *o,
			 const char *const *names)
{
	fprintf(out, LABEL, label);
	for (const char *const *n = names; *n; n++) {
		const char *separator = n == names ? "" : ", ";

		fprintf(out, "%s", separator);
		for (const char *p = *n; *p; p++)
			fputc(*p == '_' ? ' ' : *p, out);
		fprintf(out, " %s", field_count(o, *n).s);
	}
	fputc('\n', out);
}

struct text proxy_output(struct json_object *proxy)
{
	struct text side = field_str(proxy, "side");

	if (!strcmp(side.s, "primary") || !field(proxy, "side"))
		return field_str(proxy, "compare");
	return side;
}

static void put_output(FILE *out, struct json_object *o)
{
	static const char *const words[][2] = {
		{"colo", "released when both guests agree (colo)"},
		{"periodic", "released at checkpoints (periodic)"},
		{"pass", "released at once, nobody protects"},
		{"secondary", "compared by the primary, not let out here"},
		{"silent", "not let out here"},
	};
	struct text output = proxy_output(o);
	const char *text = output.s;

	for (size_t i = 0; i < ARRAY_SIZE(words); i++)
		if (!strcmp(words[i][0], output.s))
			text = words[i][1];
	fprintf(out, LABEL "%s", "output", text);
	if (field(o, "netfilter"))
		fprintf(out, ", packet filter %s", field_str(o, "netfilter").s);
	fputc('\n', out);
}

static void put_hold(FILE *out, struct json_object *o)
{
	uint64_t count;

	if (!o || (field_u64(o, "count", &count) && !count))
		return;
	fprintf(out, LABEL "p50 %-9s p99 %-9s max %s\n", "  hold", field_us(o, "p50").s,
		field_us(o, "p99").s, field_us(o, "max").s);
}

static void put_auto(FILE *out, struct json_object *o)
{
	uint64_t ms;

	if (!o)
		return;
	fprintf(out, LABEL "%s switches", "  auto", field_count(o, "switches").s);
	if (put_string(out, " (last: ", field(o, "why")))
		fputc(')', out);
	fprintf(out, ", %s checkpoints forced", field_count(o, "forced").s);
	if (!strcmp(field_str(o, "now").s, "periodic") && field_u64(o, "probe_ms", &ms))
		fprintf(out, ", colo is tried again after %s", fmt_us(ms * 1000).s);
	fputc('\n', out);
}

static void put_nics(FILE *out, struct json_object *list)
{
	if (!json_object_is_type(list, json_type_array))
		return;
	for (size_t i = 0; i < json_object_array_length(list); i++) {
		struct json_object *nic = json_object_array_get_idx(list, i);
		struct text bridge = field_str(nic, "bridge");
		char label[32];

		snprintf(label, sizeof(label), "  nic %zu", i);
		fprintf(out, LABEL "%s, tap %s, ", label, field_str(nic, "mac").s,
			field_str(nic, "tap").s);
		if (!strcmp(bridge.s, "-"))
			fprintf(out, "routed%s\n", field_bool(nic, "joined") ? "" : ", silent");
		else
			fprintf(out, "%s bridge %s\n", field_bool(nic, "joined") ? "in" : "not in",
				bridge.s);
	}
}

void format_proxy(FILE *out, struct json_object *proxy)
{
	static const char *const packets[] = {"held",      "matched",  "mismatched",
					      "timed_out", "bypassed", NULL};
	static const char *const causes[] = {"match", "commit", "bypass", "solo", NULL};
	static const char *const mirror[] = {"frames", "lost", "queue_lost", NULL};

	if (!json_object_is_type(proxy, json_type_object))
		return;
	put_output(out, proxy);
	put_counters(out, "  packets", proxy, packets);
	put_hold(out, field(proxy, "hold_us"));
	if (field(proxy, "released_by"))
		put_counters(out, "  released by", field(proxy, "released_by"), causes);
	put_auto(out, field(proxy, "auto"));
	if (field(proxy, "mirror"))
		put_counters(out, "  mirror", field(proxy, "mirror"), mirror);
	put_nics(out, field(proxy, "nics"));
}

static void put_flow(FILE *out, struct json_object *o)
{
	struct text matched = {"-"}, idle = {"-"};
	uint64_t n;

	if (field_u64(o, "matched_bytes", &n))
		matched = fmt_bytes(n);
	if (field_u64(o, "idle_ms", &n))
		idle = fmt_us(n * 1000);
	fprintf(out, "%-9s %6s %9s %9s %11s %9s  ", field_str(o, "state").s,
		field_count(o, "held_packets").s, field_count(o, "packets").s, matched.s,
		field_count(o, "seq_offset").s, idle.s);
	if (!put_string(out, "", field(o, "flow")))
		fputc('-', out);
	fputc('\n', out);
}

void format_flows(FILE *out, struct json_object *answer)
{
	struct json_object *list = field(answer, "flows");
	size_t n = json_object_is_type(list, json_type_array) ? json_object_array_length(list) : 0;
	uint64_t total;

	if (!n) {
		fputs("no flows\n", out);
		return;
	}
	fprintf(out, "%-9s %6s %9s %9s %11s %9s  %s\n", "STATE", "HELD", "PACKETS", "MATCHED",
		"SEQ-OFFSET", "IDLE", "FLOW");
	for (size_t i = 0; i < n; i++)
		put_flow(out, json_object_array_get_idx(list, i));
	if (field_u64(answer, "total", &total) && total > n)
		fprintf(out, "... and %" PRIu64 " more; -n shows more\n", total - n);
}
