// SPDX-License-Identifier: GPL-2.0-or-later
/* Content hashes of all pages, keyed with a secret of this process. */
#include "colod/checkpoint/fingerprint.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <xxhash.h>

struct fingerprints {
	XXH128_hash_t *of_page;
	uint64_t npages;
	uint8_t secret[192]; /* XXH3's default secret size */
};

int fingerprints_new(struct fingerprints **out, uint64_t npages, struct err *e)
{
	struct fingerprints *f = calloc(1, sizeof(*f));

	if (!f)
		return err_errno(e, ENOMEM, "page fingerprints");
	f->npages = npages;
	f->of_page = mmap(NULL, npages * sizeof(f->of_page[0]), PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (f->of_page == MAP_FAILED ||
	    getrandom(f->secret, sizeof(f->secret), 0) != sizeof(f->secret)) {
		fingerprints_free(f);
		return err_errno(e, ENOMEM, "page fingerprints for %llu pages",
				 (unsigned long long)npages);
	}
	*out = f;
	return 0;
}

void fingerprints_free(struct fingerprints *f)
{
	if (!f)
		return;
	if (f->of_page != MAP_FAILED)
		munmap(f->of_page, f->npages * sizeof(f->of_page[0]));
	free(f);
}

bool fingerprints_update(struct fingerprints *f, uint64_t page, const uint8_t *data)
{
	XXH128_hash_t h = XXH3_128bits_withSecret(data, PAGE_BYTES, f->secret, sizeof(f->secret));

	if (XXH128_isEqual(h, f->of_page[page]))
		return false;
	f->of_page[page] = h;
	return true;
}
