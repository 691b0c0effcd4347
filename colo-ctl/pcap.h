/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The packets of mismatches as a capture file. Pure but for what is written to the stream. */
#ifndef COLO_CTL_PCAP_H
#define COLO_CTL_PCAP_H

#include "base/err.h"

#include <json-c/json.h>
#include <stdio.h>

/**
 * pcap_write() - both sides' packets of the @answer to "mismatches", in its order, of each mismatch
 * the primary's before the secondary's, in the classic pcap format (draft-ietf-opsawg-pcap):
 * little-endian, microseconds, link type RAW (101). Returns the number of packets; -EPROTO for an
 * answer that cannot be one, -EIO when @out fails.
 */
int pcap_write(FILE *out, struct json_object *answer, struct err *e);

#endif
