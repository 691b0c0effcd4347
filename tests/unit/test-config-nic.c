// SPDX-License-Identifier: GPL-2.0-or-later
/* Network cards and bypass rules in the configuration file; what depends on them. */
#include "colod/core/config.h"

#include "tests/unit/unit.h"

#define REQUIRED "listen = 10.0.0.1:9000\npeer = 10.0.0.2:9000\nmemory = 1G\n"
#define MAC      "mac=52:54:00:00:00:0"

static int parse(struct config *c, const char *lines, struct err *e)
{
	char text[8192];

	snprintf(text, sizeof(text), REQUIRED "%s", lines);
	return config_parse(c, "web.conf", text, strlen(text), e);
}

static void expect_ok(struct config *c, const char *lines)
{
	struct err e = {};

	assert_ok(parse(c, lines, &e), &e);
}

/* Refused, with a reason that holds all of @parts (separated by |) and nothing left to free. */
static void expect_refused(const char *lines, const char *parts)
{
	struct config c;
	struct err e = {};
	char list[256], *state;

	if (parse(&c, lines, &e) != -EINVAL)
		fail_msg("\"%s\" was not refused", lines);
	snprintf(list, sizeof(list), "%s", parts);
	for (char *p = strtok_r(list, "|", &state); p; p = strtok_r(NULL, "|", &state))
		if (!strstr(e.msg, p))
			fail_msg("\"%s\" does not say \"%s\"", e.msg, p);
	assert_int_equal(c.nic_count, 0);
	assert_null(c.bypass);
}

static void a_card_needs_a_tap_and_a_mac_only(void **state)
{
	static const uint8_t mac[] = {0x52, 0x54, 0, 0xaB, 0xCd, 0xef};
	struct config c;

	(void)state;
	expect_ok(&c, "nic = tap=colo0 mac=52:54:00:aB:Cd:ef\n");
	assert_int_equal(c.nic_count, 1);
	assert_string_equal(c.nics[0].tap, "colo0");
	assert_string_equal(c.nics[0].bridge, "");
	assert_memory_equal(c.nics[0].mac, mac, 6);
	assert_string_equal(c.nics[0].model, "virtio-net-pci");
	assert_null(c.nics[0].extra);
	assert_int_equal(c.nics[0].mtu, 0);
	config_destroy(&c);
}

static void all_parts_of_a_card_are_read_in_any_order(void **state)
{
	struct config c;

	(void)state;
	expect_ok(&c, "nic = device=mrg_rxbuf=off,csum=off mtu=9000\tmodel=virtio-net-pci-non-"
		      "transitional bridge=br-lan.5 " MAC "1  tap=abcdefghijklmno # comment\n"
		      "nic = tap=t1 routed model=e1000 " MAC "2\n");
	assert_int_equal(c.nic_count, 2);
	assert_string_equal(c.nics[0].extra, "mrg_rxbuf=off,csum=off");
	assert_int_equal(c.nics[0].mtu, 9000);
	assert_string_equal(c.nics[0].model, "virtio-net-pci-non-transitional");
	assert_string_equal(c.nics[0].bridge, "br-lan.5");
	assert_string_equal(c.nics[0].tap, "abcdefghijklmno");
	assert_int_equal(c.nics[0].mac[5], 1);
	assert_string_equal(c.nics[1].tap, "t1");
	assert_string_equal(c.nics[1].bridge, "");
	assert_string_equal(c.nics[1].model, "e1000");
	config_destroy(&c);
}

static void a_guest_has_at_most_eight_cards(void **state)
{
	char lines[1024] = "";
	struct config c;

	(void)state;
	for (int i = 0; i < 8; i++) {
		char line[64];

		snprintf(line, sizeof(line), "nic = tap=t%d " MAC "%d\n", i, i);
		strcat(lines, line);
	}
	expect_ok(&c, lines);
	assert_int_equal(c.nic_count, 8);
	assert_string_equal(c.nics[7].tap, "t7");
	config_destroy(&c);
	strcat(lines, "nic = tap=t8 " MAC "8\n");
	expect_refused(lines, "web.conf:12: nic|at most 8");
}

static void cards_must_differ_in_tap_and_mac(void **state)
{
	struct config c;

	(void)state;
	expect_refused("nic = tap=a " MAC "1\nnic = tap=b " MAC "2\nnic = tap=a " MAC "3\n",
		       "web.conf:6: nic|tap of nic 0");
	expect_refused("nic = tap=a " MAC "1\nnic = tap=b " MAC "A\nnic = tap=c " MAC "a\n",
		       "mac of nic 1");
	/* Cards in one bridge are common. */
	expect_ok(&c, "nic = tap=a bridge=br0 " MAC "1\nnic = tap=b bridge=br0 " MAC "2\n");
	config_destroy(&c);
}

static void a_refused_card_names_the_part_and_what_is_accepted(void **state)
{
	(void)state;
	expect_refused("nic = tap=a mac=52:54:00:00:00\n",
		       "web.conf:4: nic: |\"mac=52:54:00:00:00\"|XX:XX|accepted: tap=NAME");
	expect_refused("nic = tap=a " MAC "1 brigde=br0\n", "unknown part \"brigde=br0\"");
	expect_refused("nic = tap=a " MAC "1 mtu=9 mtu=9\n", "\"mtu=9\"");
	expect_refused("nic = tap=a " MAC "1 mtu=900 mtu=900\n", "says mtu twice");
	expect_refused("nic = tap=a " MAC "1 routed routed\n", "says routed twice");
	expect_refused("nic = tap=a " MAC "1 routed bridge=b\n", "bridge= and routed");
	expect_refused("nic = tap=a " MAC "1 bridge=a\n", "the same name");
	expect_refused("nic = " MAC "1\n", "no tap=");
	expect_refused("nic = tap=a\n", "no mac=|same on both hosts");
	expect_refused("nic =\n", "nic has no value");
	expect_refused("nic = tap=a mac=01:00:5e:00:00:01\n", "multicast");
	expect_refused("nic = tap=a mac=00:00:00:00:00:00\n", "no address");
	expect_refused("nic = tap=a model=e1000 mtu=1400 " MAC "1\n", "virtio-net");
}

static void bad_parts_are_refused(void **state)
{
	static const char *const bad[] = {
		"tap=",
		"tap",
		"ta=x",
		"tap=abcdefghijklmnop",
		"tap=a/b",
		"tap=..",
		"tap=-x",
		"tap=a:b",
		"bridge=",
		"bridge=abcdefghijklmnop",
		"mac=52:54:00:00:00:011",
		"mac=52-54-00-00-00-01",
		"mac=52:54:00:00:00:0g",
		"mac=52:54:00:00:00: 1",
		"mac=+2:54:00:00:00:01",
		"mac=",
		"model=",
		"model=a,b=c",
		"model=-x",
		"mtu=",
		"mtu=67",
		"mtu=65522",
		"mtu=99999999999999999999",
		"mtu=1e3",
		"mtu=+900",
		"device=",
		"device=x",
		"device==x",
		"device=x=",
		"device=x=1,",
		"device=x=1,,y=2",
		"device=,x=1",
		"device=mac=1",
		"device=x=1,netdev=y",
		"device=id=z",
		"device=host_mtu=1",
		"device=x y=1",
		"device={\"a\":1}",
		"routed=yes",
		"",
		"'",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		char line[256];

		snprintf(line, sizeof(line), "nic = %s%s%s\n",
			 strncmp(bad[i], "tap=", 4) ? "tap=a " : "",
			 strncmp(bad[i], "mac=", 4) ? MAC "1 " : "", *bad[i] ? bad[i] : "\"\"");
		expect_refused(line, "web.conf:4: nic: ");
	}
}

static void a_property_is_refused_by_its_whole_name_only(void **state)
{
	struct config c;

	(void)state;
	expect_ok(&c, "nic = tap=a " MAC "1 device=mac2=1,guest_mac=2,idx=3,addr=4\n");
	assert_string_equal(c.nics[0].extra, "mac2=1,guest_mac=2,idx=3,addr=4");
	config_destroy(&c);
}

static void the_mode_follows_from_the_cards_unless_it_is_set(void **state)
{
	struct config c;

	(void)state;
	expect_ok(&c, "");
	assert_int_equal(c.mode, CKPT_MODE_PERIODIC);
	assert_false(config_compares(&c));
	config_destroy(&c);
	expect_ok(&c, "nic = tap=a " MAC "1\n");
	assert_int_equal(c.mode, CKPT_MODE_AUTO);
	assert_true(config_compares(&c));
	config_destroy(&c);
	/* Before its cards. */
	expect_ok(&c, "mode = colo\nnic = tap=a " MAC "1\n");
	assert_int_equal(c.mode, CKPT_MODE_COLO);
	assert_true(config_compares(&c));
	config_destroy(&c);
	expect_ok(&c, "nic = tap=a " MAC "1\nmode = periodic\n");
	assert_int_equal(c.mode, CKPT_MODE_PERIODIC);
	config_destroy(&c);
}

static void comparing_without_cards_is_refused(void **state)
{
	struct config c;
	struct err e = {};

	(void)state;
	expect_refused("mode = colo\n", "web.conf:4: mode: colo|nic");
	expect_refused("\nmode = auto\n", "web.conf:5: mode: auto|nic");
	expect_ok(&c, "mode = on-demand\n");
	assert_int_equal(config_set(&c, "mode", "colo", &e), -EINVAL);
	assert_non_null(strstr(e.msg, "nic"));
	assert_int_equal(c.mode, CKPT_MODE_ON_DEMAND);
	config_destroy(&c);
}

static void the_proxys_run_time_keys_change(void **state)
{
	struct config c;
	struct err e = {};

	(void)state;
	expect_ok(&c, "nic = tap=a " MAC "1\n");
	assert_int_equal(config_set(&c, "mode", "colo", &e), 0);
	assert_int_equal(c.mode, CKPT_MODE_COLO);
	assert_int_equal(config_set(&c, "compare_timeout_ms", "50", &e), 0);
	assert_int_equal(c.compare_timeout_ms, 50);
	assert_int_equal(config_set(&c, "colo_period_ms", "100", &e), 0);
	assert_int_equal(c.colo_period_ms, 100);
	assert_int_equal(config_set(&c, "solo", "forbid", &e), 0);
	assert_false(c.solo_allowed);
	assert_int_equal(config_set(&c, "solo", "ask", &e), -EINVAL);
	assert_non_null(strstr(e.msg, "allow or forbid"));
	assert_int_equal(config_set(&c, "nic", "tap=b " MAC "2", &e), -EPERM);
	assert_int_equal(config_set(&c, "bypass", "release proto udp", &e), -EPERM);
	assert_int_equal(config_set(&c, "max_flows", "100", &e), -EPERM);
	assert_int_equal(c.nic_count, 1);
	config_destroy(&c);
}

static void bounds_of_the_proxys_keys_are_kept(void **state)
{
	static const char *const bad[] = {
		"colo_period_ms=99",        "colo_period_ms=600001", "compare_timeout_ms=0",
		"compare_timeout_ms=60001", "max_held_packets=63",   "max_held_packets=1000001",
		"max_held_bytes=1023K",     "max_held_bytes=17G",    "max_flows=63",
		"max_half_open=15",         "netfilter=ipfw",        "solo=yes",
		"announce_count=0",         "announce_count=101",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		char name[32];

		snprintf(name, sizeof(name), "web.conf:4: %.*s", (int)strcspn(bad[i], "="), bad[i]);
		expect_refused(bad[i], name);
	}
}

static void uplinks_are_named_one_by_one(void **state)
{
	char lines[CONFIG_MAX_UPLINK * 24 + 32] = "";
	struct config c;
	struct err e = {};

	(void)state;
	expect_ok(&c, "");
	assert_int_equal(c.uplink_count, 0);
	assert_int_equal(c.uplink_delay_ms, 1000);
	assert_int_equal(config_set(&c, "uplink_delay_ms", "0", &e), 0);
	assert_int_equal(c.uplink_delay_ms, 0);
	assert_int_equal(config_set(&c, "uplink", "eth0", &e), -EPERM);
	config_destroy(&c);
	for (unsigned i = 0; i < CONFIG_MAX_UPLINK; i++)
		snprintf(lines + strlen(lines), 24, "uplink = eth%u\n", i);
	expect_ok(&c, lines);
	assert_int_equal(c.uplink_count, CONFIG_MAX_UPLINK);
	assert_string_equal(c.uplinks[0], "eth0");
	assert_string_equal(c.uplinks[CONFIG_MAX_UPLINK - 1], "eth7");
	config_destroy(&c);
	strcat(lines, "uplink = eth8\n");
	expect_refused(lines, "web.conf:12: uplink|one interface too many|up to 8");
	expect_refused("uplink = a\nuplink = a\n", "web.conf:5: uplink|named already");
	expect_refused("uplink = eth0 eth1\n", "web.conf:4: uplink|character");
	expect_refused("uplink = 0123456789abcdef\n", "1 to 15 characters");
	expect_refused("uplink_delay_ms = 600001\n", "web.conf:4: uplink_delay_ms");
}

static void bypass_rules_are_kept_as_they_are_in_order(void **state)
{
	struct config c;

	(void)state;
	expect_ok(&c, "bypass = release proto udp  peer-port 53 # DNS\n"
		      "bypass=commit peer 10.0.0.0/8\n");
	assert_int_equal(c.bypass_count, 2);
	assert_string_equal(c.bypass[0], "release proto udp  peer-port 53");
	assert_string_equal(c.bypass[1], "commit peer 10.0.0.0/8");
	assert_null(c.bypass[2]);
	config_destroy(&c);
	expect_refused("bypass = # none\n", "bypass has no value");
}

static void bypass_rules_are_bounded(void **state)
{
	char lines[4096] = "";
	struct config c;

	(void)state;
	for (int i = 0; i < CONFIG_MAX_BYPASS; i++)
		strcat(lines, "bypass = release proto 47\n");
	expect_ok(&c, lines);
	assert_int_equal(c.bypass_count, CONFIG_MAX_BYPASS);
	config_destroy(&c);
	strcat(lines, "bypass = release proto 47\n");
	expect_refused(lines, "bypass|too many");
}

static void names_of_values_read_back(void **state)
{
	(void)state;
	assert_string_equal(ckpt_mode_name(CKPT_MODE_COLO), "colo");
	assert_string_equal(ckpt_mode_name(CKPT_MODE_AUTO), "auto");
	assert_string_equal(netfilter_kind_name(NETFILTER_IPTABLES), "iptables");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_card_needs_a_tap_and_a_mac_only),
		cmocka_unit_test(all_parts_of_a_card_are_read_in_any_order),
		cmocka_unit_test(a_guest_has_at_most_eight_cards),
		cmocka_unit_test(cards_must_differ_in_tap_and_mac),
		cmocka_unit_test(a_refused_card_names_the_part_and_what_is_accepted),
		cmocka_unit_test(bad_parts_are_refused),
		cmocka_unit_test(a_property_is_refused_by_its_whole_name_only),
		cmocka_unit_test(the_mode_follows_from_the_cards_unless_it_is_set),
		cmocka_unit_test(comparing_without_cards_is_refused),
		cmocka_unit_test(the_proxys_run_time_keys_change),
		cmocka_unit_test(bounds_of_the_proxys_keys_are_kept),
		cmocka_unit_test(uplinks_are_named_one_by_one),
		cmocka_unit_test(bypass_rules_are_kept_as_they_are_in_order),
		cmocka_unit_test(bypass_rules_are_bounded),
		cmocka_unit_test(names_of_values_read_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
