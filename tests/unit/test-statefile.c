// SPDX-License-Identifier: GPL-2.0-or-later
/* The state file: what was written is read again; what makes no sense is refused by name. */
#include "colod/core/statefile.h"

#include "tests/unit/unit.h"

static struct statefile example(void)
{
	return (struct statefile){
		.standing = STANDING_PROTECTED,
		.boot_id = "0bc3a4a1-96c7-44a5-a8ab-6c0e2b3a0f11",
		.qemu_pid = 4711,
		.qemu_started = UINT64_MAX,
		.ram_fd = 3,
		.uffd_fd = -1,
		.memory_bytes = 128 * MIB,
		.memory_page_bytes = PAGE_BYTES,
		.tracking = TRACK_SOFT_DIRTY,
		.guest_stopped = true,
		.session = 0x0123456789abcdef,
		.epoch = 41,
		.nic_count = 2,
		.nics = {{.tap = "tap0", .mac = {0x52, 0x54, 0, 0, 0, 1}, .fd = 6},
			 {.tap = "fifteen-letters",
			  .mac = {2, 0, 0, 0, 0, 255},
			  .mtu = 9000,
			  .fd = 7}},
	};
}

static void what_was_written_is_read_again(void **state)
{
	struct statefile in = example(), out;
	char text[STATEFILE_MAX], again[STATEFILE_MAX];
	size_t len;
	struct err e = {};

	(void)state;
	for (in.standing = 0; in.standing < STANDING_COUNT; in.standing++) {
		len = statefile_format(&in, text);
		assert_int_equal(len, strlen(text));
		assert_ok(statefile_parse(&out, text, &e), &e);
		statefile_format(&out, again);
		assert_string_equal(text, again);
		assert_int_equal(out.standing, in.standing);
		assert_int_equal(out.nics[1].mac[5], 255);
		assert_true(out.guest_stopped && !out.link_paused);
	}
}

static void the_largest_fits(void **state)
{
	struct statefile s = example();
	char text[STATEFILE_MAX];

	(void)state;
	memset(s.boot_id, 'a', sizeof(s.boot_id) - 1);
	s.epoch = s.session = s.memory_bytes = UINT64_MAX;
	s.nic_count = CONFIG_MAX_NICS;
	for (unsigned i = 0; i < CONFIG_MAX_NICS; i++) {
		memset(s.nics[i].tap, 'x', sizeof(s.nics[i].tap) - 1);
		s.nics[i].mtu = UINT32_MAX;
		s.nics[i].fd = INT32_MAX;
	}
	assert_in_range(statefile_format(&s, text), 500, STATEFILE_MAX - 1);
}

/* @old of a good file replaced by @new. */
static void expect_refused(const char *old, const char *new, const char *reason)
{
	struct statefile s = example();
	char good[STATEFILE_MAX], bad[2 * STATEFILE_MAX], *at;
	struct err e = {};

	statefile_format(&s, good);
	at = strstr(good, old);
	assert_non_null(at);
	snprintf(bad, sizeof(bad), "%.*s%s%s", (int)(at - good), good, new, at + strlen(old));
	assert_int_equal(statefile_parse(&s, bad, &e), -EINVAL);
	if (!strstr(e.msg, reason))
		fail_msg("\"%s\" does not say \"%s\"", e.msg, reason);
}

static void what_makes_no_sense_is_refused(void **state)
{
	(void)state;
	expect_refused("colod-state 1", "colod-state 2", "does not begin");
	expect_refused("standing = protected", "standing = fine", "standing");
	expect_refused("standing = protected\n", "", "\"standing\" is missing");
	expect_refused("epoch = 41\n", "epoch = 41\nepoch = 42\n", "epoch");
	expect_refused("epoch = 41", "epoch = 18446744073709551616", "epoch");
	expect_refused("epoch = 41", "epoch = -1", "epoch");
	expect_refused("epoch = 41", "epoch = ", "epoch");
	expect_refused("qemu_pid = 4711", "qemu_pid = 1", "no process");
	expect_refused("qemu_pid = 4711", "qemu_pid = 4294967296", "qemu_pid");
	expect_refused("guest_stopped = yes", "guest_stopped = maybe", "guest_stopped");
	expect_refused("tracking = soft-dirty", "tracking = auto", "tracking");
	expect_refused("boot_id = 0", "boot_id = ../", "boot_id");
	expect_refused("00:01 0 6", "00:01 0 -1", "nic");
	expect_refused("00:01 0 6", "00:01 0", "nic");
	expect_refused("00:01 0 6", "00:01 0 6 7", "nic");
	expect_refused("nic = fifteen-letters", "nic = sixteen-letters-", "nic");
}

static void a_key_of_a_later_colod_does_not_matter(void **state)
{
	struct statefile s = example();
	char text[STATEFILE_MAX];
	struct err e = {};

	(void)state;
	statefile_format(&s, text);
	strcat(text, "colour = blue\n");
	assert_ok(statefile_parse(&s, text, &e), &e);
	assert_int_equal(s.epoch, 41);
}

static void expect_misfit(const char *lines, const char *reason)
{
	struct statefile s = example();
	struct config c;
	char text[512];
	struct err e = {};

	snprintf(text, sizeof(text), "listen = a:1\npeer = b:2\n%s", lines);
	assert_ok(config_parse(&c, "unit", text, strlen(text), &e), &e);
	if (!reason)
		assert_ok(statefile_fits(&s, &c, &e), &e);
	else
		assert_int_equal(statefile_fits(&s, &c, &e), -EINVAL);
	if (reason && !strstr(e.msg, reason))
		fail_msg("\"%s\" does not say \"%s\"", e.msg, reason);
	config_destroy(&c);
}

#define NIC_0 "nic = tap=tap0 mac=52:54:00:00:00:01\n"
#define NIC_1 "nic = tap=fifteen-letters mac=02:00:00:00:00:ff\n"

static void a_configuration_for_another_qemu_is_told(void **state)
{
	(void)state;
	expect_misfit("memory = 128M\n" NIC_0 NIC_1, NULL);
	expect_misfit("memory = 256M\n" NIC_0 NIC_1, "memory: the running QEMU has 128 MB");
	expect_misfit("memory = 128M\nmemory_page_size = 2M\n" NIC_0 NIC_1, "memory_page_size");
	expect_misfit("memory = 128M\n" NIC_0, "2 cards");
	expect_misfit("memory = 128M\n" NIC_1 NIC_0, "nic 0");
}

static void only_a_replica_is_the_secondarys(void **state)
{
	(void)state;
	for (enum standing s = 0; s < STANDING_COUNT; s++)
		assert_int_equal(standing_role(s),
				 s == STANDING_REPLICA ? ROLE_SECONDARY : ROLE_PRIMARY);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_was_written_is_read_again),
		cmocka_unit_test(the_largest_fits),
		cmocka_unit_test(what_makes_no_sense_is_refused),
		cmocka_unit_test(a_key_of_a_later_colod_does_not_matter),
		cmocka_unit_test(a_configuration_for_another_qemu_is_told),
		cmocka_unit_test(only_a_replica_is_the_secondarys),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
