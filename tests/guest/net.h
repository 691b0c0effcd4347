/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What netd and netload share: the content that both ends know, its checksum, the clock. */
#ifndef TESTS_GUEST_NET_H
#define TESTS_GUEST_NET_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define PORT_ECHO    7 /* TCP and UDP: what came goes back */
#define PORT_DIFFERS 8 /* the same, but the last STAMP_BYTES of an answer tell the replicas apart */
#define PORT_SINK    9 /* TCP: takes all until the end, then answers its checksum and length */
#define PORT_SOURCE  10 /* TCP: a line with a number of bytes is answered by so much content */
#define PORT_COUNTS  11 /* TCP and UDP: an echo that ends in the count of all answers so far */
#define STAMP_BYTES  16
#define HEADER_BYTES 16
#define BLOCK_BYTES  4096u
#define NSEC_PER_SEC 1000000000ull

static inline uint64_t now_nsec(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * NSEC_PER_SEC + (uint64_t)t.tv_nsec;
}

/**
 * message_make() - the size bytes (at least HEADER_BYTES) that message number seq consists of.
 *
 * The number comes first, so that a message in another one's place is seen; the rest depends on the
 * position, so that bytes that moved are seen.
 */
static inline void message_make(char *buf, size_t size, uint64_t seq)
{
	char header[32];
	uint32_t x = 1;

	snprintf(header, sizeof(header), "%015llu\n",
		 (unsigned long long)seq % 1000000000000000ull);
	memcpy(buf, header, HEADER_BYTES);
	for (size_t i = HEADER_BYTES; i < size; i++) {
		x = x * 1664525 + 1013904223;
		buf[i] = (char)('0' + (x >> 26));
	}
}

/**
 * content_make() - len bytes from the given offset of the endless content: blocks of BLOCK_BYTES,
 * block n being message n.
 */
static inline void content_make(char *buf, size_t len, uint64_t offset)
{
	static char block[BLOCK_BYTES];
	static uint64_t made = UINT64_MAX;

	while (len) {
		size_t at = offset % BLOCK_BYTES;
		size_t n = BLOCK_BYTES - at < len ? BLOCK_BYTES - at : len;

		if (made != offset / BLOCK_BYTES) {
			/* Only the header tells one block from another. */
			message_make(block, made == UINT64_MAX ? BLOCK_BYTES : HEADER_BYTES,
				     offset / BLOCK_BYTES);
			made = offset / BLOCK_BYTES;
		}
		memcpy(buf, block + at, n);
		buf += n;
		offset += n;
		len -= n;
	}
}

#define FNV_START 0xcbf29ce484222325ull

/* FNV-1a, 64 bit. */
static inline uint64_t fnv_add(uint64_t hash, const char *buf, size_t len)
{
	for (size_t i = 0; i < len; i++)
		hash = (hash ^ (unsigned char)buf[i]) * 0x100000001b3ull;
	return hash;
}

#endif
