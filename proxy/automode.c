// SPDX-License-Identifier: GPL-2.0-or-later
/* Mode auto: forced checkpoints and waits against what periodic would do. Pure. */
#include "proxy/automode.h"

#include "base/util.h"

void automode_init(struct automode *a, uint64_t now_us)
{
	*a = (struct automode){.colo = true,
			       .since_us = now_us,
			       .window_at_us = now_us,
			       .probe_us = AUTO_PROBE_MIN_US,
			       .why = ""};
}

void automode_forced(struct automode *a, uint64_t now_us)
{
	a->forced_at_us[a->forced++ % AUTO_RING] = now_us;
}

/* Whether more than @limit were forced within the window and in this stretch of colo. */
static bool forced_more_than(const struct automode *a, uint64_t limit, uint64_t now_us)
{
	uint64_t at;

	limit = MIN(limit, AUTO_RING - 1);
	if (a->forced <= limit)
		return false;
	at = a->forced_at_us[(a->forced - 1 - limit) % AUTO_RING];
	return at >= a->since_us && now_us - at <= AUTO_WINDOW_US;
}

void automode_released(struct automode *a, uint64_t packets, uint64_t waited_us)
{
	a->packets = packets;
	a->waited_us = waited_us;
}

static void begin_window(struct automode *a, uint64_t now_us)
{
	a->window_at_us = now_us;
	a->window_packets = a->packets;
	a->window_waited_us = a->waited_us;
}

/* Comparing costs even those packets time that agree; what does not agree waits twice. */
static bool waits_longer(struct automode *a, uint64_t period_us, uint64_t now_us)
{
	uint64_t packets = a->packets - a->window_packets;
	uint64_t waited_us = a->waited_us - a->window_waited_us;
	bool over = now_us - a->window_at_us >= AUTO_WINDOW_US;
	bool longer = packets && waited_us > packets * period_us;

	if (forced_more_than(a, AUTO_MIN_FORCED - 1, now_us) && longer)
		return true;
	if (!over)
		return false;
	begin_window(a, now_us);
	return packets >= AUTO_MIN_PACKETS && longer;
}

/* What speaks against colo, NULL when nothing does. */
static const char *objection(struct automode *a, uint64_t period_us, uint64_t now_us)
{
	if (!period_us)
		return NULL;
	if (forced_more_than(a, MAX(AUTO_MIN_FORCED, AUTO_WINDOW_US / period_us), now_us))
		return "more checkpoints were forced than periodic makes";
	if (waits_longer(a, period_us, now_us))
		return "packets waited longer than for a checkpoint of periodic";
	return NULL;
}

static void change(struct automode *a, bool colo, const char *why, uint64_t now_us)
{
	a->colo = colo;
	a->since_us = now_us;
	begin_window(a, now_us);
	a->switches++;
	a->why = why;
}

bool automode_decide(struct automode *a, uint64_t period_us, uint64_t now_us)
{
	uint64_t lasted_us = now_us - a->since_us;
	const char *why;

	if (!a->colo) {
		if (lasted_us >= a->probe_us)
			change(a, true, "colo is tried again", now_us);
		return a->colo;
	}
	if (lasted_us >= AUTO_TRIAL_US)
		a->probe_us = AUTO_PROBE_MIN_US;
	why = objection(a, period_us, now_us);
	if (!why)
		return true;
	/* The first stretch of colo was no trial. */
	if (lasted_us < AUTO_TRIAL_US && a->switches)
		a->probe_us = MIN(2 * a->probe_us, AUTO_PROBE_MAX_US);
	change(a, false, why, now_us);
	return false;
}
