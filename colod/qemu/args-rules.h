/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The table of QEMU arguments that colod refuses. */
#ifndef QEMU_ARGS_RULES_H
#define QEMU_ARGS_RULES_H

/**
 * struct arg_rule - what is refused; all three are fnmatch(3) patterns with FNM_EXTMATCH
 * @opt:   name of the option without dashes
 * @key:   a part of its value, see struct opt_pair; NULL: the option itself is refused
 * @value: what that part says; NULL: whatever it says
 * @why:   the reason and what to do instead
 */
struct arg_rule {
	const char *opt, *key, *value, *why;
};

/** arg_rules - ends with an empty one; the first that matches speaks. */
extern const struct arg_rule arg_rules[];

#endif
