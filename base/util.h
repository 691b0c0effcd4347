/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Small macros and arithmetic that every layer uses. */
#ifndef BASE_UTIL_H
#define BASE_UTIL_H

#include <stddef.h>
#include <stdint.h>

#define ARRAY_SIZE(a)        (sizeof(a) / sizeof((a)[0]))
#define DIV_ROUND_UP(n, d)   (((n) + (d)-1) / (d))
#define ALIGN_UP(n, a)       (DIV_ROUND_UP(n, a) * (a))
#define MIN(a, b)            ((a) < (b) ? (a) : (b))
#define MAX(a, b)            ((a) > (b) ? (a) : (b))
#define BIT(n)               (1u << (n))
#define PRINTF_LIKE(fmt, va) __attribute__((format(printf, fmt, va)))

#define USEC_PER_MSEC UINT64_C(1000)
#define USEC_PER_SEC  UINT64_C(1000000)
#define NSEC_PER_USEC UINT64_C(1000)

#define KIB UINT64_C(1024)
#define MIB (1024 * KIB)
#define GIB (1024 * MIB)

/* The unit of replication: an x86 page. A host page may be larger (2 MB RAM). */
#define PAGE_SHIFT 12
#define PAGE_BYTES (UINT64_C(1) << PAGE_SHIFT)

#define container_of(ptr, type, member) ((type *)((char *)(ptr)-offsetof(type, member)))

#endif
