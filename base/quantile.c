// SPDX-License-Identifier: GPL-2.0-or-later
/* Quantiles: a ring of values, sorted only when somebody looks. */
#include "base/quantile.h"

#include <stdlib.h>
#include <string.h>

void quantile_add(struct quantile *q, uint64_t value)
{
	q->ring[q->count++ % QUANTILE_WINDOW] = (uint32_t)MIN(value, UINT32_MAX);
	q->max = MAX(q->max, value);
	q->sum += value;
}

static int cmp_u32(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

void quantile_view(const struct quantile *q, struct quantile_view *out)
{
	uint32_t sorted[QUANTILE_WINDOW];
	uint64_t n = MIN(q->count, QUANTILE_WINDOW);

	memset(out, 0, sizeof(*out));
	out->count = q->count;
	out->max = q->max;
	if (!n)
		return;
	memcpy(sorted, q->ring, n * sizeof(sorted[0]));
	qsort(sorted, n, sizeof(sorted[0]), cmp_u32);
	out->p50 = sorted[(n - 1) * 50 / 100];
	out->p99 = sorted[(n - 1) * 99 / 100];
	out->last = q->ring[(q->count - 1) % QUANTILE_WINDOW];
}
