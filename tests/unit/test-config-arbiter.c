// SPDX-License-Identifier: GPL-2.0-or-later
/* Arbitration's keys: defaults, bounds, and combinations that make no sense. */
#include "tests/unit/unit.h"

#include "colod/core/config.h"

#define REQUIRED "listen = 10.0.0.1:9000\npeer = 10.0.0.2:9000\nmemory = 1G\n"

static void expect_ok(struct config *c, const char *text)
{
	struct err e = {};

	if (config_parse(c, "/etc/colod/web.conf", text, strlen(text), &e))
		fail_msg("%s", err_msg(&e));
}

static void expect_refused(const char *text, const char *part)
{
	struct config c;
	struct err e = {};

	assert_int_equal(config_parse(&c, "/etc/colod/web.conf", text, strlen(text), &e), -EINVAL);
	if (!strstr(e.msg, part) || strncmp(e.msg, "/etc/colod/web.conf:", 20))
		fail_msg("\"%s\" does not say \"%s\"", e.msg, part);
}

static void without_keys_nobody_arbitrates(void **state)
{
	struct config c;

	(void)state;
	expect_ok(&c, REQUIRED);
	assert_int_equal(c.arbiter, ARBITER_NONE);
	assert_null(c.arbiter_command);
	assert_int_equal(c.arbiter_timeout_ms, 10000);
	assert_null(c.etcd_endpoints);
	assert_string_equal(c.etcd_prefix, "/colod");
	assert_int_equal(c.etcd_ttl_ms, 5000);
	assert_null(c.etcd_cafile);
	assert_string_equal(c.host, "");
	assert_string_equal(arbiter_kind_name(c.arbiter), "none");
	config_destroy(&c);
}

static void every_key_can_be_set(void **state)
{
	struct config c;

	(void)state;
	expect_ok(&c, REQUIRED "arbiter = exec\narbiter_command = fence -o 'a # b'\n"
			       "arbiter_timeout_ms = 100\nhost = a-1.example\n");
	assert_int_equal(c.arbiter, ARBITER_EXEC);
	assert_string_equal(c.arbiter_command, "fence -o 'a # b'");
	assert_int_equal(c.arbiter_timeout_ms, 100);
	assert_string_equal(c.host, "a-1.example");
	config_destroy(&c);
	expect_ok(&c, REQUIRED "arbiter = etcd\netcd_prefix = /x/y\netcd_ttl_ms = 2000\n"
			       "etcd_endpoints = https://10.0.0.3:2379  https://[fd00::3]:2379 "
			       "https://etcd.example # three\n"
			       "etcd_cafile=/ca\netcd_certfile=/cert\netcd_keyfile=/key\n");
	assert_int_equal(c.arbiter, ARBITER_ETCD);
	assert_string_equal(c.etcd_endpoints[0], "https://10.0.0.3:2379");
	assert_string_equal(c.etcd_endpoints[1], "https://[fd00::3]:2379");
	assert_string_equal(c.etcd_endpoints[2], "https://etcd.example");
	assert_null(c.etcd_endpoints[3]);
	assert_string_equal(c.etcd_prefix, "/x/y");
	assert_int_equal(c.etcd_ttl_ms, 2000);
	assert_string_equal(c.etcd_cafile, "/ca");
	assert_string_equal(c.etcd_certfile, "/cert");
	assert_string_equal(c.etcd_keyfile, "/key");
	config_destroy(&c);
}

#define ETCD REQUIRED "arbiter = etcd\n"

static void bad_values_are_refused(void **state)
{
	(void)state;
	expect_refused(REQUIRED "arbiter = quorum\n", "none, exec or etcd");
	expect_refused(REQUIRED "host = localhost\n", "one host from the other");
	expect_refused(REQUIRED "host = a b\n", "character");
	expect_refused(REQUIRED "host = .a\n", "character");
	expect_refused(REQUIRED "arbiter_timeout_ms = 99\n", "100 to 600000");
	expect_refused(ETCD "etcd_ttl_ms = 1999\n", "2000 to 600000");
	expect_refused(ETCD "etcd_prefix = colod\n", "begin with /");
	expect_refused(ETCD "etcd_prefix = /colod/\n", "ends in one");
	expect_refused(ETCD "etcd_prefix = /a\"b\n", "character");
	expect_refused(ETCD "etcd_endpoints = 10.0.0.3:2379\n", "http://");
	expect_refused(ETCD "etcd_endpoints = ftp://a\n", "http://");
	expect_refused(ETCD "etcd_endpoints = http://\n", "names no host");
	expect_refused(ETCD "etcd_endpoints = http://a/v3\n", "a host and a port");
	expect_refused(ETCD "etcd_endpoints = http://user@a\n", "a host and a port");
	expect_refused(ETCD "etcd_endpoints = http://a 'http://b\n", "quote");
	expect_refused(ETCD "etcd_cafile = ca.pem\n", "begin with /");
}

static void what_is_missing_or_senseless_is_refused(void **state)
{
	(void)state;
	expect_refused(REQUIRED "arbiter = exec\n", "needs arbiter_command");
	expect_refused(REQUIRED "arbiter = exec\narbiter_command =\n", "arbiter_command: is empty");
	expect_refused(REQUIRED "arbiter_command = true\n", "only with arbiter = exec");
	expect_refused(ETCD "arbiter_command = true\n", "only with arbiter = exec");
	expect_refused(ETCD, "needs etcd_endpoints");
	expect_refused(REQUIRED "etcd_endpoints = http://a\n", "only with arbiter = etcd");
	expect_refused(REQUIRED "etcd_keyfile = /a\n", "only with arbiter = etcd");
	expect_refused(ETCD "etcd_endpoints = https://a\netcd_keyfile = /a\n",
		       "etcd_certfile is missing");
	expect_refused(ETCD "etcd_endpoints = https://a\netcd_certfile = /a\n",
		       "etcd_keyfile is missing");
	expect_refused(ETCD "etcd_endpoints = https://a http://b\netcd_cafile = /a\n",
		       "https:// in every URL");
}

static void a_host_is_called_as_its_machine_by_default(void **state)
{
	char path[] = "/tmp/test-config-XXXXXX", name[256] = "";
	int fd = mkstemp(path);
	struct config c;
	struct err e;

	(void)state;
	assert_true(fd >= 0);
	dprintf(fd, "name = web\n%s", REQUIRED);
	close(fd);
	assert_ok(config_load(&c, path, &e), &e);
	gethostname(name, sizeof(name) - 1);
	assert_true(!strcmp(c.host, name) || !*c.host);
	config_destroy(&c);
	unlink(path);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(without_keys_nobody_arbitrates),
		cmocka_unit_test(every_key_can_be_set),
		cmocka_unit_test(bad_values_are_refused),
		cmocka_unit_test(what_is_missing_or_senseless_is_refused),
		cmocka_unit_test(a_host_is_called_as_its_machine_by_default),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
