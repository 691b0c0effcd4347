/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Guest program: pages of linked counters that show any torn or mixed-epoch memory by themselves.
 *
 * usage: counter MEGABYTES UPDATES_PER_SECOND TICK_MS
 *
 * Every update has a number. It rewrites one pseudo-randomly chosen page so that all of its words
 * follow from (page, update, link), where the link is the digest of the page written by the update
 * before. The ledger, in pages of its own, holds each page's last update. So
 *   - a page that mixes two epochs fails its own words,
 *   - a page or a ledger page of another epoch disagrees with the other one,
 *   - a page whose predecessor is of another epoch fails its link,
 *   - registers of another epoch than memory disagree about the number of updates.
 * A page is verified before it is rewritten, all pages are verified once a second in turn.
 */
#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>

#define PAGE_BYTES     4096u
#define PAGE_WORDS     (PAGE_BYTES / 8)
#define BODY_WORDS     (PAGE_WORDS - 4)
#define NSEC_PER_SEC   1000000000ull
#define SLICE_NSEC     5000000ull
#define AUDITS_PER_SEC 1

struct page {
	uint64_t number;
	uint64_t update;    /* the update that wrote this page, 0: the first fill */
	uint64_t prev_page; /* the page that update - 1 wrote */
	uint64_t link;      /* the digest of that page then */
	uint64_t body[BODY_WORDS];
};

struct world {
	struct page *pages;
	uint64_t *ledger; /* update number that each page must carry */
	uint64_t npages;
	volatile uint64_t updates; /* again, in memory: the loop has it in a register */
	uint64_t prev_page, link;
	uint64_t audits;
};

static volatile sig_atomic_t audit_wanted;

static void on_usr1(int signo)
{
	(void)signo;
	audit_wanted = 1;
}

static uint64_t mix(uint64_t x)
{
	x ^= x >> 30;
	x *= 0xbf58476d1ce4e5b9ull;
	x ^= x >> 27;
	x *= 0x94d049bb133111ebull;
	return x ^ x >> 31;
}

static uint64_t now_nsec(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * NSEC_PER_SEC + (uint64_t)t.tv_nsec;
}

static uint64_t page_seed(const struct page *p)
{
	return mix(p->number ^ mix(p->update ^ mix(p->prev_page ^ mix(p->link))));
}

/* Fill the body and return the digest. */
static uint64_t page_fill(struct page *p)
{
	uint64_t x = page_seed(p);

	for (unsigned i = 0; i < BODY_WORDS; i++) {
		x = x * 6364136223846793005ull + 1442695040888963407ull;
		p->body[i] = x;
	}
	return mix(x);
}

/* The index of the first wrong body word, BODY_WORDS when all are right. */
static unsigned page_wrong_word(const struct page *p, uint64_t *digest)
{
	uint64_t x = page_seed(p);

	for (unsigned i = 0; i < BODY_WORDS; i++) {
		x = x * 6364136223846793005ull + 1442695040888963407ull;
		if (p->body[i] != x)
			return i;
	}
	*digest = mix(x);
	return BODY_WORDS;
}

static void corrupt(const struct world *w, uint64_t n, const char *what, uint64_t got,
		    uint64_t want)
{
	printf("CORRUPT page=%llu what=%s got=%llx want=%llx updates=%llu\n", (unsigned long long)n,
	       what, (unsigned long long)got, (unsigned long long)want,
	       (unsigned long long)w->updates);
}

/* The page that this one was linked to, as long as nobody has rewritten it since. */
static bool link_verify(const struct world *w, const struct page *p)
{
	const struct page *prev;
	uint64_t digest = 0;

	if (!p->update)
		return true;
	if (p->prev_page >= w->npages) {
		corrupt(w, p->number, "prev_page", p->prev_page, w->npages);
		return false;
	}
	prev = &w->pages[p->prev_page];
	if (prev->update > p->update - 1)
		return true;
	if (prev->update != p->update - 1) {
		corrupt(w, p->number, "prev_update", prev->update, p->update - 1);
		return false;
	}
	if (page_wrong_word(prev, &digest) != BODY_WORDS || digest != p->link) {
		corrupt(w, p->number, "link", digest, p->link);
		return false;
	}
	return true;
}

static bool page_verify(const struct world *w, uint64_t n)
{
	const struct page *p = &w->pages[n];
	uint64_t digest;
	unsigned word;

	if (p->number != n) {
		corrupt(w, n, "number", p->number, n);
		return false;
	}
	if (p->update != w->ledger[n]) {
		corrupt(w, n, "update", p->update, w->ledger[n]);
		return false;
	}
	word = page_wrong_word(p, &digest);
	if (word != BODY_WORDS) {
		corrupt(w, n, "word", word, p->update);
		return false;
	}
	return link_verify(w, p);
}

static void page_update(struct world *w, uint64_t n, uint64_t update)
{
	struct page *p = &w->pages[n];

	p->number = n;
	p->update = update;
	p->prev_page = w->prev_page;
	p->link = w->link;
	w->link = page_fill(p);
	w->prev_page = n;
	w->ledger[n] = update;
	w->updates = update;
}

/* Every page, every link, and the ledger's maximum, which is the last update. */
static bool audit(struct world *w)
{
	uint64_t newest = 0;
	bool ok = true;

	for (uint64_t n = 0; n < w->npages; n++) {
		ok &= page_verify(w, n);
		if (w->ledger[n] > newest)
			newest = w->ledger[n];
	}
	if (newest != w->updates) {
		corrupt(w, 0, "newest", newest, w->updates);
		ok = false;
	}
	w->audits++;
	return ok;
}

static int world_init(struct world *w, uint64_t megabytes)
{
	w->npages = megabytes * (1024 * 1024 / PAGE_BYTES);
	w->pages = mmap(NULL, w->npages * PAGE_BYTES, PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	w->ledger = mmap(NULL, w->npages * 8, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
			 -1, 0);
	if (w->pages == MAP_FAILED || w->ledger == MAP_FAILED)
		return -ENOMEM;
	for (uint64_t n = 0; n < w->npages; n++) {
		w->pages[n].number = n;
		page_fill(&w->pages[n]);
	}
	return 0;
}

/* Due updates of one slice; what a pause left behind is dropped, not caught up with. */
static bool run_slice(struct world *w, uint64_t *update, uint64_t count)
{
	bool ok = true;

	for (uint64_t i = 0; i < count; i++) {
		uint64_t n = mix(*update) % w->npages;

		if (*update != w->updates) {
			corrupt(w, n, "register", *update, w->updates);
			ok = false;
			*update = w->updates;
		}
		ok &= page_verify(w, n);
		page_update(w, n, ++*update);
	}
	return ok;
}

static void run(struct world *w, uint64_t per_sec, uint64_t tick_nsec)
{
	uint64_t update = 0, ticks = 0, last = now_nsec(), tick_at = last, audit_at = last,
		 owed = 0;
	bool ok = true;

	for (;;) {
		struct timespec nap = {.tv_nsec = (long)SLICE_NSEC};
		uint64_t now, passed;

		nanosleep(&nap, NULL);
		now = now_nsec();
		passed = now - last < 10 * SLICE_NSEC ? now - last : 10 * SLICE_NSEC;
		last = now;
		owed += per_sec * passed;
		ok &= run_slice(w, &update, owed / NSEC_PER_SEC);
		owed %= NSEC_PER_SEC;
		if (now - audit_at >= NSEC_PER_SEC / AUDITS_PER_SEC) {
			ok &= audit(w);
			audit_at = now;
		}
		if (audit_wanted) {
			audit_wanted = 0;
			ok &= audit(w);
			printf("counters %s pages=%llu updates=%llu audits=%llu\n",
			       ok ? "ok" : "CORRUPT", (unsigned long long)w->npages,
			       (unsigned long long)w->updates, (unsigned long long)w->audits);
		}
		if (now - tick_at >= tick_nsec) {
			printf("tick %llu %s\n", (unsigned long long)++ticks,
			       ok ? "ok" : "CORRUPT");
			tick_at = now;
		}
	}
}

int main(int argc, char **argv)
{
	struct world w = {0};
	long megabytes = argc == 4 ? atol(argv[1]) : 0;
	long per_sec = argc == 4 ? atol(argv[2]) : 0;
	long tick_ms = argc == 4 ? atol(argv[3]) : 0;

	if (megabytes <= 0 || per_sec <= 0 || tick_ms <= 0) {
		fputs("usage: counter MEGABYTES UPDATES_PER_SECOND TICK_MS\n", stderr);
		return 2;
	}
	setvbuf(stdout, NULL, _IOLBF, 0);
	signal(SIGUSR1, on_usr1);
	if (world_init(&w, (uint64_t)megabytes)) {
		fputs("counter: not enough memory\n", stderr);
		return 1;
	}
	run(&w, (uint64_t)per_sec, (uint64_t)tick_ms * 1000000);
}
