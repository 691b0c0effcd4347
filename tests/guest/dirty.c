/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Guest program: writes to scattered pages of a working set at a steady rate.
 *
 * usage: dirty WORKING_SET_MB MB_PER_100MS
 *
 * Works in slices of about a millisecond, so that the load is the same in every part of an epoch.
 * Every page of the set has its turn before one is written again: as long as the set is larger than
 * what an epoch writes, its dirty pages are as many as the rate says. Random choice would repeat
 * some.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>

#define PAGE_BYTES   4096u
#define PAGES_PER_MB 256u
#define NSEC_PER_SEC 1000000000ull
#define SLICE_NSEC   1000000ull
#define MAX_MB       (1 << 20)

static uint64_t now_nsec(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * NSEC_PER_SEC + (uint64_t)t.tv_nsec;
}

static uint64_t gcd(uint64_t a, uint64_t b)
{
	while (b) {
		uint64_t rest = a % b;

		a = b;
		b = rest;
	}
	return a;
}

/* Steps of a golden section spread any number of pages evenly; coprime ones miss none. */
static uint64_t scattering_step(uint64_t npages)
{
	uint64_t step = npages * 618 / 1000 + 1;

	while (gcd(step, npages) != 1)
		step++;
	return step;
}

static void dirty(volatile uint8_t *mem, uint64_t npages, uint64_t pages_per_sec)
{
	uint64_t x = 88172645463325252ull, last = now_nsec(), owed = 0, page = 0;
	uint64_t step = scattering_step(npages);

	for (;;) {
		struct timespec nap = {.tv_nsec = (long)SLICE_NSEC};
		uint64_t now, passed;

		nanosleep(&nap, NULL);
		now = now_nsec();
		/* A paused guest does not catch up: that would be a burst, not a load. */
		passed = now - last < 20 * SLICE_NSEC ? now - last : 20 * SLICE_NSEC;
		last = now;
		for (owed += pages_per_sec * passed; owed >= NSEC_PER_SEC; owed -= NSEC_PER_SEC) {
			x ^= x << 13;
			x ^= x >> 7;
			x ^= x << 17;
			*(volatile uint64_t *)(mem + page * PAGE_BYTES + x % 512 * 8) = x;
			page += step;
			if (page >= npages)
				page -= npages;
		}
	}
}

int main(int argc, char **argv)
{
	long megabytes = argc == 3 ? atol(argv[1]) : 0;
	long rate = argc == 3 ? atol(argv[2]) : 0;
	uint64_t npages;
	uint8_t *mem;

	if (megabytes <= 0 || megabytes > MAX_MB || rate <= 0 || rate > MAX_MB) {
		fputs("usage: dirty WORKING_SET_MB MB_PER_100MS\n", stderr);
		return 2;
	}
	npages = (uint64_t)megabytes * PAGES_PER_MB;
	mem = mmap(NULL, npages * PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
		   -1, 0);
	if (mem == MAP_FAILED) {
		fputs("dirty: not enough memory\n", stderr);
		return 1;
	}
	/* Content, so that no page of the working set is a zero page. */
	for (uint64_t n = 0; n < npages; n++)
		*(uint64_t *)(mem + n * PAGE_BYTES) = n + 1;
	printf("dirty on\n");
	fflush(stdout);
	dirty(mem, npages, (uint64_t)rate * PAGES_PER_MB * 10);
}
