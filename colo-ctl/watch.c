// SPDX-License-Identifier: GPL-2.0-or-later
/* The live view of a daemon. */
#include "colo-ctl/watch.h"

#include "base/util.h"
#include "colo-ctl/format-proxy.h"
#include "colo-ctl/units.h"

/* Growth of a counter per second. Unknown at first, and after the daemon was started anew. */
static bool rate(struct json_object *prev, struct json_object *cur, const char *path,
		 uint64_t elapsed_us, double *out)
{
	uint64_t a, b;

	if (!elapsed_us || !field_u64(prev, path, &a) || !field_u64(cur, path, &b) || b < a)
		return false;
	*out = (double)(b - a) * (double)USEC_PER_SEC / (double)elapsed_us;
	return true;
}

struct rates {
	struct text checkpoints, sent, matched;
};

static struct rates rates(struct json_object *prev, struct json_object *cur, uint64_t elapsed_us)
{
	struct rates r = {{"-"}, {"-"}, {"-"}};
	double v;

	if (rate(prev, cur, "checkpoints.count", elapsed_us, &v))
		snprintf(r.checkpoints.s, sizeof(r.checkpoints.s), "%.1f", v);
	if (rate(prev, cur, "bytes_sent", elapsed_us, &v))
		snprintf(r.sent.s, sizeof(r.sent.s), "%.1f", v / 1e6);
	if (rate(prev, cur, "proxy.matched", elapsed_us, &v))
		snprintf(r.matched.s, sizeof(r.matched.s), "%.1f", v);
	return r;
}

/* A value that stays one word, whatever the daemon says. */
static struct text word(struct json_object *o, const char *path)
{
	struct text t = field_str(o, path);

	for (char *p = t.s; *p; p++)
		if (*p == ' ')
			*p = '_';
	return t;
}

void watch_line(FILE *out, struct json_object *prev, struct json_object *cur, uint64_t elapsed_us)
{
	struct rates r = rates(prev, cur, elapsed_us);

	fprintf(out, "state=%s role=%s mode=%s epoch=%s", word(cur, "state").s, word(cur, "role").s,
		word(cur, "mode").s, field_count(cur, "epoch").s);
	fprintf(out, " checkpoints/s=%s pause_p50_us=%s pause_p99_us=%s commit_p50_us=%s",
		r.checkpoints.s, field_count(cur, "pause_us.p50").s,
		field_count(cur, "pause_us.p99").s, field_count(cur, "commit_us.p50").s);
	fprintf(out, " dirty_pages=%s sent_MB/s=%s peer=%s peer_state=%s",
		field_count(cur, "dirty_pages.last").s, r.sent.s, word(cur, "peer.address").s,
		word(cur, "peer.state").s);
	fprintf(out, " peer_heard_ms=%s", field_count(cur, "peer.last_heard_ms_ago").s);
	if (field(cur, "sync"))
		fprintf(out, " sync_percent=%s sync_seconds_left=%s",
			field_count(cur, "sync.percent").s,
			field_count(cur, "sync.seconds_left").s);
	if (field(cur, "proxy"))
		fprintf(out, " output=%s held=%s matched/s=%s mismatched=%s hold_p50_us=%s",
			proxy_output(field(cur, "proxy")).s, field_count(cur, "proxy.held").s,
			r.matched.s, field_count(cur, "proxy.mismatched").s,
			field_count(cur, "proxy.hold_us.p50").s);
	fputc('\n', out);
}

static void put_peer(FILE *out, struct json_object *cur)
{
	uint64_t ms;

	fprintf(out, "%-12s %s, %s", "peer", field_str(cur, "peer.address").s,
		field_str(cur, "peer.state").s);
	if (field_u64(cur, "peer.last_heard_ms_ago", &ms) && ms <= UINT64_MAX / 1000)
		fprintf(out, ", heard %s ago", fmt_us(ms * 1000).s);
	fputc('\n', out);
}

void watch_screen(FILE *out, struct json_object *prev, struct json_object *cur, uint64_t elapsed_us)
{
	struct rates r = rates(prev, cur, elapsed_us);

	fprintf(out, "%-12s %s\n", "guest", field_str(cur, "name").s);
	fprintf(out, "%-12s %s, %s\n", "state", field_str(cur, "role").s,
		field_str(cur, "state").s);
	if (field(cur, "sync"))
		fprintf(out, "%-12s %s\n", "first copy", sync_text(field(cur, "sync")).s);
	put_peer(out, cur);
	fprintf(out, "%-12s %s\n", "mode", field_str(cur, "mode").s);
	fprintf(out, "%-12s %s, %s checkpoints/s\n", "epoch", field_count(cur, "epoch").s,
		r.checkpoints.s);
	fprintf(out, "%-12s p50 %s, p99 %s\n", "pause", field_us(cur, "pause_us.p50").s,
		field_us(cur, "pause_us.p99").s);
	fprintf(out, "%-12s p50 %s\n", "commit", field_us(cur, "commit_us.p50").s);
	fprintf(out, "%-12s %s\n", "dirty pages", field_count(cur, "dirty_pages.last").s);
	fprintf(out, "%-12s %s MB/s\n", "sent", r.sent.s);
	if (!field(cur, "proxy"))
		return;
	fprintf(out, "%-12s %s, %s packets held\n", "output", proxy_output(field(cur, "proxy")).s,
		field_count(cur, "proxy.held").s);
	fprintf(out, "%-12s %s/s, %s mismatches\n", "matched", r.matched.s,
		field_count(cur, "proxy.mismatched").s);
	fprintf(out, "%-12s p50 %s, p99 %s\n", "hold", field_us(cur, "proxy.hold_us.p50").s,
		field_us(cur, "proxy.hold_us.p99").s);
}

unsigned watch_redraw(FILE *out, const char *text, unsigned old_lines)
{
	unsigned lines = 0;

	if (old_lines)
		fprintf(out, "\033[%uA\r", old_lines);
	for (; *text; text++) {
		if (*text == '\n') {
			fputs("\033[K", out);
			lines++;
		}
		fputc(*text, out);
	}
	fputs("\033[J", out);
	return lines;
}
