/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The checksum of an epoch across links: each one goes on from what the last one is known to have brought. */
#ifndef CHECKPOINT_CHAIN_H
#define CHECKPOINT_CHAIN_H

#include "base/bytes.h"

#include <xxhash.h>

/**
 * chain_begin() - what @hash holds at an epoch's start (@frames 0), or after a resume when @frames
 * PAGES frames of the epoch have arrived whole, with @digest behind the last of them. Returns the
 * digest of what has come, which stays the same until another frame is whole.
 */
static inline uint64_t chain_begin(XXH3_state_t *hash, uint64_t frames, uint64_t digest)
{
	uint8_t seed[8];

	XXH3_64bits_reset(hash);
	if (!frames)
		return XXH3_64bits_digest(hash);
	put_be64(seed, digest);
	XXH3_64bits_update(hash, seed, sizeof(seed));
	return digest;
}

#endif
