/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Content hashes of all pages: finds the changed 4 KB pages where tracking is coarser than that. */
#ifndef CHECKPOINT_FINGERPRINT_H
#define CHECKPOINT_FINGERPRINT_H

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

struct fingerprints;

/**
 * fingerprints_new() - 16 bytes for each of @npages (4 MB for each GB of guest RAM).
 *
 * 128-bit XXH3 with a secret drawn from getrandom(2): two contents of one page collide with
 * probability 2^-128, and a guest that does not know the secret cannot construct a collision.
 */
int fingerprints_new(struct fingerprints **out, uint64_t npages, struct err *e);
void fingerprints_free(struct fingerprints *f);

/** fingerprints_update() - remember @data as the content of @page; true when it was another before.
 */
bool fingerprints_update(struct fingerprints *f, uint64_t page, const uint8_t *data);

#endif
