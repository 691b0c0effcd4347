/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Scope-bound release of memory, descriptors and streams through the compiler's cleanup attribute.
 */
#ifndef BASE_CLEANUP_H
#define BASE_CLEANUP_H

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static inline void cleanup_free(void *p)
{
	free(*(void **)p);
}

static inline void cleanup_close(int *fd)
{
	if (*fd >= 0)
		close(*fd);
}

static inline void cleanup_fclose(FILE **f)
{
	if (*f)
		fclose(*f);
}

#define _cleanup_(fn) __attribute__((cleanup(fn)))
#define autofree      _cleanup_(cleanup_free)
#define autoclose     _cleanup_(cleanup_close)
#define autofclose    _cleanup_(cleanup_fclose)

/** steal_fd() - take a descriptor out of an autoclose variable; the caller owns it from here on. */
static inline int steal_fd(int *fd)
{
	int r = *fd;

	*fd = -1;
	return r;
}

/** steal_ptr() - take a pointer out of an autofree variable; the caller owns it from here on. */
#define steal_ptr(pp)                                                                              \
	({                                                                                         \
		__typeof__(*(pp)) stolen_ = *(pp);                                                 \
		*(pp) = NULL;                                                                      \
		stolen_;                                                                           \
	})

/** close_fd() - close *fd if it is open and forget it. */
static inline void close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

#endif
