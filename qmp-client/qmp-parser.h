/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Incremental QMP parser: bytes in any split go in, classified messages come out. */
#ifndef QMP_PARSER_H
#define QMP_PARSER_H

#include "base/err.h"

#include <json-c/json.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Bounds on what QEMU can make us hold. The longest answer known, query-qmp-schema, has 200 KB and
 * a depth under 10; "[[],[],..." costs a hundred times its length in json-c objects. */
#define QMP_MSG_MAX   ((size_t)1 << 20)
#define QMP_DEPTH_MAX 64

/** struct qmp_version - from the greeting, e.g. 7.2.22. */
struct qmp_version {
	int major, minor, micro;
};

enum qmp_msg_type {
	QMP_MSG_GREETING,
	QMP_MSG_RETURN,
	QMP_MSG_ERROR,
	QMP_MSG_EVENT,
};

/**
 * struct qmp_msg - one message from QEMU (QEMU's docs/interop/qmp-spec)
 * @root:         the whole message, owned; every pointer below lives as long as it does
 * @id:           RETURN, ERROR: the command's id. -1 when there is none: QEMU could not parse what
 *                it was sent
 * @body:         RETURN: the "return" value; EVENT: the "data" object or NULL
 * @name:         EVENT: its name; ERROR: its class
 * @desc:         ERROR: the text for humans
 * @timestamp_us: EVENT: QEMU's wall clock, 0 when it had none
 * @version:      GREETING
 * @oob:          GREETING: out-of-band execution is on offer
 */
struct qmp_msg {
	struct json_object *root;
	enum qmp_msg_type type;
	int64_t id;
	struct json_object *body;
	const char *name;
	const char *desc;
	uint64_t timestamp_us;
	struct qmp_version version;
	bool oob;
};

/** struct qmp_parser - embed it; the fields are private. */
struct qmp_parser {
	struct json_tokener *tok;
	size_t used; /* bytes of the message being read */
	bool broken; /* garbage was seen: there is no way to find the next message */
};

/** qmp_parser_init() - 0 or -ENOMEM. */
int qmp_parser_init(struct qmp_parser *p);
void qmp_parser_destroy(struct qmp_parser *p);

/**
 * qmp_parser_next() - read on from *buf, *len, which move past what was used
 *
 * Returns 1 with a message in *out that the caller releases by qmp_msg_clear(), 0 when more bytes
 * are needed (all given were used), -EPROTO for what is not QMP or exceeds the bounds; after that
 * every call fails.
 */
int qmp_parser_next(struct qmp_parser *p, const char **buf, size_t *len, struct qmp_msg *out,
		    struct err *e);

void qmp_msg_clear(struct qmp_msg *m);

#endif
