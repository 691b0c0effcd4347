// SPDX-License-Identifier: GPL-2.0-or-later
/* The configuration file: defaults, every key's bounds, errors that name place and remedy. */
#include "colod/core/config.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define REQUIRED "listen = 10.0.0.1:9000\npeer = 10.0.0.2:9000\nmemory = 1G\n"

static int parse(struct config *c, const char *text, struct err *e)
{
	return config_parse(c, "/etc/colod/web.conf", text, strlen(text), e);
}

static void expect_ok(struct config *c, const char *text)
{
	struct err e = {};

	if (parse(c, text, &e))
		fail_msg("%s", err_msg(&e));
}

/* The file is refused with a reason that holds all of @parts (separated by |). */
static void expect_refused(const char *text, const char *parts)
{
	struct config c;
	struct err e = {};
	char list[256], *state;

	assert_int_equal(parse(&c, text, &e), -EINVAL);
	snprintf(list, sizeof(list), "%s", parts);
	for (char *p = strtok_r(list, "|", &state); p; p = strtok_r(NULL, "|", &state))
		if (!strstr(e.msg, p))
			fail_msg("\"%s\" does not say \"%s\"", e.msg, p);
	assert_null(c.qemu); /* nothing is left to free */
}

static void required_keys_alone_give_the_documented_defaults(void **state)
{
	struct config c;

	(void)state;
	expect_ok(&c, REQUIRED);
	assert_string_equal(c.name, "web");
	assert_string_equal(c.listen.host, "10.0.0.1");
	assert_string_equal(c.listen.port, "9000");
	assert_string_equal(c.peers[0].host, "10.0.0.2");
	assert_string_equal(c.qemu, "qemu-system-x86_64");
	assert_string_equal(c.qemu_args, "");
	assert_int_equal(c.memory_bytes, GIB);
	assert_int_equal(c.memory_page_bytes, 4096);
	assert_int_equal(c.tracking, TRACK_AUTO);
	assert_int_equal(c.mode, CKPT_MODE_PERIODIC);
	assert_int_equal(c.period_ms, 100);
	assert_false(c.run_secondary);
	assert_int_equal(c.bandwidth_Bps, 0);
	assert_int_equal(c.peer_timeout_ms, 1000);
	assert_string_equal(c.runtime_dir, "/run/colod");
	assert_string_equal(c.socket_path, "/run/colod/web.sock");
	assert_null(c.control_group);
	assert_int_equal(c.log_level, LOG_PRIO_NOTICE);
	assert_int_equal(c.scan_threads, 0);
	assert_int_equal(c.nic_count, 0);
	assert_int_equal(c.bypass_count, 0);
	assert_int_equal(c.netfilter, NETFILTER_AUTO);
	assert_int_equal(c.colo_period_ms, 5000);
	assert_int_equal(c.hold_ms, 20);
	assert_int_equal(c.pause_percent, 50);
	assert_int_equal(c.compare_timeout_ms, 200);
	assert_int_equal(c.max_held_packets, 20000);
	assert_int_equal(c.max_held_bytes, 64 * MIB);
	assert_int_equal(c.max_flows, 65536);
	assert_int_equal(c.max_half_open, 4096);
	assert_false(c.solo_allowed);
	assert_int_equal(c.recover_timeout_ms, 2000);
	assert_int_equal(c.announce_count, 5);
	config_destroy(&c);
}

static void every_key_can_be_set(void **state)
{
	struct config c;

	(void)state;
	expect_ok(&c, "name=db-1\nlisten=[::]:1\npeer=[fe80::1%eth0]:65535\nmemory=16T\n"
		      "qemu=/opt/qemu\nqemu_args=-smp 2\nmemory_page_size=2M\n"
		      "dirty_tracking=soft-dirty\nmode=on-demand\nperiod_ms=0\nrun_secondary=yes\n"
		      "bandwidth=100M\npeer_timeout_ms=600000\nruntime_dir=/tmp/x\nsocket=/tmp/s\n"
		      "control_group=adm\nlog_level=debug\nscan_threads=16\n"
		      "netfilter=iptables\ncolo_period_ms=100\ncompare_timeout_ms=60000\n"
		      "hold_ms=60000\npause_percent=90\n"
		      "max_held_packets=64\nmax_held_bytes=1M\nmax_flows=1000000\n"
		      "max_half_open=16\nsolo=forbid\nannounce_count=1\n"
		      "nic = tap=t0 mac=52:54:00:00:00:01\nbypass = release proto 47\n");
	assert_string_equal(c.name, "db-1");
	assert_string_equal(c.listen.host, "::");
	assert_string_equal(c.peers[0].host, "fe80::1%eth0");
	assert_string_equal(c.peers[0].port, "65535");
	assert_string_equal(c.qemu, "/opt/qemu");
	assert_string_equal(c.qemu_args, "-smp 2");
	assert_int_equal(c.memory_bytes, 16384 * GIB);
	assert_int_equal(c.memory_page_bytes, 2 * MIB);
	assert_int_equal(c.tracking, TRACK_SOFT_DIRTY);
	assert_int_equal(c.mode, CKPT_MODE_ON_DEMAND);
	assert_int_equal(c.period_ms, 0);
	assert_true(c.run_secondary);
	assert_int_equal(c.bandwidth_Bps, 100 * MIB);
	assert_int_equal(c.peer_timeout_ms, 600000);
	assert_string_equal(c.runtime_dir, "/tmp/x");
	assert_string_equal(c.socket_path, "/tmp/s");
	assert_string_equal(c.control_group, "adm");
	assert_int_equal(c.log_level, LOG_PRIO_DEBUG);
	assert_int_equal(c.scan_threads, 16);
	assert_int_equal(c.netfilter, NETFILTER_IPTABLES);
	assert_int_equal(c.colo_period_ms, 100);
	assert_int_equal(c.hold_ms, 60000);
	assert_int_equal(c.pause_percent, 90);
	assert_int_equal(c.compare_timeout_ms, 60000);
	assert_int_equal(c.max_held_packets, 64);
	assert_int_equal(c.max_held_bytes, MIB);
	assert_int_equal(c.max_flows, 1000000);
	assert_int_equal(c.max_half_open, 16);
	assert_false(c.solo_allowed);
	assert_int_equal(c.announce_count, 1);
	assert_string_equal(c.nics[0].tap, "t0");
	assert_string_equal(c.bypass[0], "release proto 47");
	config_destroy(&c);
}

static void comments_and_blank_lines_do_not_count(void **state)
{
	struct config c;

	(void)state;
	expect_ok(&c, "# first \\\n\n  \t\n  # indented\r\n" REQUIRED
		      "period_ms = 7 # why\r\nqemu=/a#b\nmode\t=\tperiodic\t#x");
	assert_int_equal(c.period_ms, 7);
	assert_string_equal(c.qemu, "/a#b");
	config_destroy(&c);
}

static void qemu_args_take_the_line_verbatim_and_add_up(void **state)
{
	struct config c;

	(void)state;
	expect_ok(&c, REQUIRED "qemu_args = -append 'a # b'\nqemu_args = -smp 2 # no comment\n"
			       "qemu_args =\nqemu_args=-cpu \\\n   max\\\n,+x2apic\n");
	assert_string_equal(c.qemu_args,
			    "-append 'a # b' -smp 2 # no comment  -cpu      max  ,+x2apic");
	config_destroy(&c);
}

static void continued_lines_keep_the_count(void **state)
{
	(void)state;
	expect_refused(REQUIRED "qemu_args = -smp \\\n 2 \\\n\nperiod_ms = x\n", "web.conf:7:");
	expect_refused(REQUIRED "period_ms = \\\n x\n", "web.conf:4:|period_ms|\"x\"");
}

static void errors_name_file_line_key_and_choices(void **state)
{
	(void)state;
	expect_refused(REQUIRED "mode = fast\n",
		       "web.conf:4: mode: \"fast\"|colo, periodic, auto or on-demand");
	expect_refused(REQUIRED "period_ms = 60001\n", "web.conf:4: period_ms|large|0 to 60000");
	expect_refused(REQUIRED "period_ms =\n", "web.conf:4: period_ms has no value");
	expect_refused(REQUIRED "period_ms = # c\n", "web.conf:4: period_ms has no value");
	expect_refused(REQUIRED "hello\n", "web.conf:4:|key = value");
	expect_refused(REQUIRED "memory = 2G\n", "web.conf:4: memory is already set in line 3");
	expect_refused(REQUIRED "qemu_args = 'x\n", "web.conf:4: qemu_args|quote");
}

static void a_typo_gets_the_nearest_key(void **state)
{
	(void)state;
	expect_refused(REQUIRED "perod_ms = 1\n", "unknown key \"perod_ms\"|mean \"period_ms\"");
	expect_refused(REQUIRED "period-ms = 1\n", "mean \"period_ms\"");
	expect_refused(REQUIRED "colour = 1\n", "unknown key \"colour\"|colod.conf(5)");
	expect_refused(REQUIRED "= 1\n", "unknown key \"\"");
}

static void missing_keys_are_named(void **state)
{
	(void)state;
	expect_refused("", "web.conf: listen is missing");
	expect_refused("listen = a:1\nmemory = 1G\n", "web.conf: peer is missing|HOST:PORT");
	expect_refused("listen = a:1\npeer = b:1\n", "web.conf: memory is missing");
}

static void bad_values_are_refused(void **state)
{
	static const char *const bad[] = {
		"name=",
		"name=a b",
		"name=.hidden",
		"name=a/b",
		"listen=host",
		"listen=:1",
		"listen=h:0",
		"listen=h:65536",
		"listen=h:",
		"listen=h:1x",
		"listen=::1:80",
		"listen=[::1]",
		"listen=[::1]80",
		"listen=[]:1",
		"listen=a b:1",
		"listen=[::1:80",
		"memory=15M",
		"memory=17000G",
		"memory=1",
		"memory=1X",
		"memory=1GB",
		"memory=-1G",
		"memory=99999999999T",
		"memory=17825791",
		"period_ms=-1",
		"period_ms=1s",
		"period_ms=0x10",
		"peer_timeout_ms=99",
		"scan_threads=17",
		"memory_page_size=1G",
		"run_secondary=maybe",
		"log_level=loud",
		"runtime_dir=run",
		"socket=x.sock",
		"qemu=my qemu",
		"memory=18446744073709551616",
		"bandwidth=1e9",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		const char *key = bad[i];
		char text[256], name[32];

		/* In place of the good one, so that no key is double. */
		snprintf(name, sizeof(name), "%.*s", (int)strcspn(key, "="), key);
		snprintf(text, sizeof(text), "%s\n%s%s%s", key,
			 strcmp(name, "listen") ? "listen=a:1\n" : "", "peer=b:1\n",
			 strcmp(name, "memory") ? "memory=1G\n" : "");
		expect_refused(text, name);
		expect_refused(text, "web.conf:1:");
	}
}

static void memory_comes_in_steps_of_2M(void **state)
{
	struct config c;

	(void)state;
	expect_refused("listen=a:1\npeer=b:1\nmemory=17M\n", "web.conf:3: memory|2M");
	expect_ok(&c, "listen=a:1\npeer=b:1\nmemory=18M\n");
	config_destroy(&c);
}

static void a_file_name_that_is_no_name_asks_for_the_key(void **state)
{
	struct config c;
	struct err e = {};

	(void)state;
	assert_int_equal(config_parse(&c, "my guest.conf", REQUIRED, strlen(REQUIRED), &e),
			 -EINVAL);
	assert_non_null(strstr(e.msg, "name"));
	assert_int_equal(config_parse(&c, "plain", REQUIRED, strlen(REQUIRED), &e), 0);
	assert_string_equal(c.name, "plain");
	config_destroy(&c);
}

static void socket_paths_fit_into_an_address(void **state)
{
	char text[512];

	(void)state;
	snprintf(text, sizeof(text), REQUIRED "runtime_dir = /%0100d\n", 0);
	expect_refused(text, "socket|runtime_dir");
}

static void binary_files_are_refused(void **state)
{
	struct config c;
	struct err e = {};

	(void)state;
	assert_int_equal(config_parse(&c, "x.conf", REQUIRED, sizeof(REQUIRED), &e), -EINVAL);
	assert_non_null(strstr(e.msg, "NUL"));
}

static void run_time_keys_change_and_others_do_not(void **state)
{
	struct config c;
	struct err e = {};

	(void)state;
	expect_ok(&c, REQUIRED);
	assert_int_equal(config_set(&c, "period_ms", "5", &e), 0);
	assert_int_equal(c.period_ms, 5);
	assert_int_equal(config_set(&c, "mode", "on-demand", &e), 0);
	assert_int_equal(c.mode, CKPT_MODE_ON_DEMAND);
	assert_int_equal(config_set(&c, "bandwidth", "1G", &e), 0);
	assert_int_equal(config_set(&c, "peer_timeout_ms", "2000", &e), 0);
	assert_int_equal(config_set(&c, "log_level", "err", &e), 0);
	assert_int_equal(config_set(&c, "memory", "2G", &e), -EPERM);
	assert_non_null(strstr(e.msg, "memory"));
	assert_int_equal(config_set(&c, "run_secondary", "yes", &e), -EPERM);
	assert_int_equal(config_set(&c, "period", "5", &e), -EINVAL);
	assert_int_equal(config_set(&c, "period_ms", "", &e), -EINVAL);
	assert_int_equal(config_set(&c, "period_ms", "70000", &e), -EINVAL);
	assert_non_null(strstr(e.msg, "0 to 60000"));
	assert_int_equal(c.period_ms, 5);
	config_destroy(&c);
}

static void names_of_values_read_back(void **state)
{
	(void)state;
	assert_string_equal(ckpt_mode_name(CKPT_MODE_ON_DEMAND), "on-demand");
	assert_string_equal(track_kind_name(TRACK_PAGEMAP_SCAN), "pagemap-scan");
}

static void a_file_that_is_not_there_is_named(void **state)
{
	struct config c;
	struct err e = {};

	(void)state;
	assert_int_equal(config_load(&c, "/nonexistent/x.conf", &e), -ENOENT);
	assert_non_null(strstr(e.msg, "/nonexistent/x.conf"));
	config_destroy(&c);
}

/* ---- encryption ---- */

#define PSK  REQUIRED "tls = psk\ntls_psk_file = /k\n"
#define X509 REQUIRED "tls = x509\ntls_ca = /a\ntls_cert = /c\ntls_key = /k\n"

static void encryption_is_off_by_default_and_that_is_not_taken_for_wanted(void **state)
{
	struct config c;

	(void)state;
	expect_ok(&c, REQUIRED);
	assert_int_equal(c.tls, TLS_NONE);
	assert_false(c.insecure);
	config_destroy(&c);
	expect_ok(&c, REQUIRED "insecure = yes\n");
	assert_true(c.insecure);
	config_destroy(&c);
}

static void the_key_is_that_of_the_guest_unless_said(void **state)
{
	struct config c;

	(void)state;
	expect_ok(&c, PSK);
	assert_string_equal(c.tls_psk_file, "/k");
	assert_string_equal(c.tls_psk_identity, "web");
	config_destroy(&c);
	expect_ok(&c, PSK "name = db\n");
	assert_string_equal(c.tls_psk_identity, "db");
	config_destroy(&c);
	expect_ok(&c, PSK "tls_psk_identity = both\n");
	assert_string_equal(c.tls_psk_identity, "both");
	config_destroy(&c);
	expect_refused(PSK "tls_psk_identity = a:b\n", "web.conf|tls_psk_identity");
	expect_refused(PSK "tls_psk_identity = #abc\n", "tls_psk_identity");
}

static void each_kind_of_encryption_needs_its_files_and_no_others(void **state)
{
	struct config c;

	(void)state;
	expect_ok(&c, X509 "tls_peer_name = b.example\n");
	assert_string_equal(c.tls_peer_name, "b.example");
	config_destroy(&c);
	expect_refused(REQUIRED "tls = psk\n", "web.conf|tls = psk needs tls_psk_file");
	expect_refused(REQUIRED "tls = x509\ntls_ca = /a\ntls_cert = /c\n", "needs tls_key");
	expect_refused(REQUIRED "tls = x509\ntls_ca = /a\ntls_key = /c\n", "needs tls_cert");
	expect_refused(REQUIRED "tls = x509\ntls_cert = /a\ntls_key = /c\n", "needs tls_ca");
	expect_refused(REQUIRED "tls_psk_file = /k\n", "tls_psk_file is set|set tls = psk");
	expect_refused(PSK "tls_peer_name = b\n", "tls_peer_name is set|set tls = x509");
	expect_refused(X509 "tls_psk_identity = b\n", "tls_psk_identity is set");
	expect_refused(REQUIRED "tls = yes\n", "tls|none, psk or x509");
	expect_refused(REQUIRED "tls = psk\ntls_psk_file = k\n", "tls_psk_file|absolute");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(required_keys_alone_give_the_documented_defaults),
		cmocka_unit_test(every_key_can_be_set),
		cmocka_unit_test(comments_and_blank_lines_do_not_count),
		cmocka_unit_test(qemu_args_take_the_line_verbatim_and_add_up),
		cmocka_unit_test(continued_lines_keep_the_count),
		cmocka_unit_test(errors_name_file_line_key_and_choices),
		cmocka_unit_test(a_typo_gets_the_nearest_key),
		cmocka_unit_test(missing_keys_are_named),
		cmocka_unit_test(bad_values_are_refused),
		cmocka_unit_test(memory_comes_in_steps_of_2M),
		cmocka_unit_test(a_file_name_that_is_no_name_asks_for_the_key),
		cmocka_unit_test(socket_paths_fit_into_an_address),
		cmocka_unit_test(binary_files_are_refused),
		cmocka_unit_test(run_time_keys_change_and_others_do_not),
		cmocka_unit_test(names_of_values_read_back),
		cmocka_unit_test(a_file_that_is_not_there_is_named),
		cmocka_unit_test(encryption_is_off_by_default_and_that_is_not_taken_for_wanted),
		cmocka_unit_test(the_key_is_that_of_the_guest_unless_said),
		cmocka_unit_test(each_kind_of_encryption_needs_its_files_and_no_others),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
