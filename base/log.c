// SPDX-License-Identifier: GPL-2.0-or-later
/* Log lines on stderr: one write(2) a line, control characters made harmless. */
#include "base/log.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define LOG_LINE_MAX 1024

static char log_name[64];
static enum log_prio log_max = LOG_PRIO_INFO;

void log_setup(const char *guest_name, enum log_prio max_prio)
{
	snprintf(log_name, sizeof(log_name), "%s", guest_name);
	log_max = max_prio;
}

/* Text may come from a peer or from QEMU: it must not be able to start a line of its own. */
static void make_printable(char *s)
{
	for (; *s; s++)
		if ((unsigned char)*s < 0x20 || *s == 0x7f)
			*s = ' ';
}

void log_line(enum log_prio prio, const char *topic, const char *fmt, ...)
{
	char line[LOG_LINE_MAX];
	size_t len;
	va_list ap;

	if (prio > log_max)
		return;
	snprintf(line, sizeof(line) - 1, "<%d>colod%s%s: %s: ", prio, log_name[0] ? " " : "",
		 log_name, topic);
	len = strlen(line);
	va_start(ap, fmt);
	vsnprintf(line + len, sizeof(line) - 1 - len, fmt, ap);
	va_end(ap);
	make_printable(line + len);
	len = strlen(line);
	line[len++] = '\n';
	if (write(STDERR_FILENO, line, len) < 0)
		return; /* nobody left to tell */
}

void log_state(const char *from, const char *to, const char *event, const char *role,
	       uint64_t epoch, const char *reason)
{
	bool has_reason = reason && reason[0];

	log_line(LOG_PRIO_NOTICE, "state", "from=%s to=%s event=%s role=%s epoch=%" PRIu64 "%s%s%s",
		 from, to, event, role, epoch, has_reason ? " reason=\"" : "",
		 has_reason ? reason : "", has_reason ? "\"" : "");
}
