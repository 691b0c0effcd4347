/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Exact quantiles over the last values of a measurement; fixed memory. */
#ifndef BASE_QUANTILE_H
#define BASE_QUANTILE_H

#include "base/util.h"

#define QUANTILE_WINDOW 1024

struct quantile {
	uint32_t ring[QUANTILE_WINDOW];
	uint64_t count; /* values ever added */
	uint64_t max;   /* of all values ever added */
	uint64_t sum;   /* likewise */
};

/** struct quantile_view - p50 and p99 over the window, max and count over all values. */
struct quantile_view {
	uint64_t p50, p99, max, count, last;
};

void quantile_add(struct quantile *q, uint64_t value);
void quantile_view(const struct quantile *q, struct quantile_view *out);

#endif
