// SPDX-License-Identifier: GPL-2.0-or-later
/* Start-up checks: what real QEMUs answer passes, what cannot be replicated is refused by name. */
#include "colod/qemu/maps.h"
#include "colod/qemu/qemu-check.h"
#include "colod/qemu/ramblock.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/sysmacros.h>

#include <cmocka.h>

#define RAM_BYTES (64 * MIB)

/* As QEMU 7.2.22 prints it for: -machine q35 -nodefaults -vga none -device virtio-net-pci */
static const char list_7_2[] =
	"              Block Name    PSize              Offset               Used              "
	"Total\r\n"
	"               colod-ram    4 KiB  0x0000000000000000 0x0000000004000000 "
	"0x0000000004000000\r\n"
	"    /rom@etc/acpi/tables    4 KiB  0x00000000040c0000 0x0000000000020000 "
	"0x0000000000200000\r\n"
	"                 pc.bios    4 KiB  0x0000000004000000 0x0000000000040000 "
	"0x0000000000040000\r\n"
	"0000:00:01.0/virtio-net-pci.rom    4 KiB  0x0000000004080000 0x0000000000040000 "
	"0x0000000000040000\r\n"
	"                  pc.rom    4 KiB  0x0000000004040000 0x0000000000020000 "
	"0x0000000000020000\r\n"
	"   /rom@etc/table-loader    4 KiB  0x00000000042c0000 0x0000000000001000 "
	"0x0000000000010000\r\n"
	"      /rom@etc/acpi/rsdp    4 KiB  0x0000000004300000 0x0000000000001000 "
	"0x0000000000001000\r\n";

/* As QEMU 10.0.2 does for a like guest. */
static const char list_10_0[] = "              Block Name    PSize              Offset             "
				"  Used              Total "
				"               HVA  RO\r\n"
				"               colod-ram    4 KiB  0x0000000000000000 "
				"0x0000000004000000 0x0000000004000000 "
				"0x00007f73700fd000  rw\r\n"
				"    /rom@etc/acpi/tables    4 KiB  0x0000000004080000 "
				"0x0000000000020000 0x0000000000200000 "
				"0x00007f732a800000  ro\r\n"
				"                 pc.bios    4 KiB  0x0000000004000000 "
				"0x0000000000040000 0x0000000000040000 "
				"0x00007f732ae00000  ro\r\n";

static void expect_list_refused(const char *base, const char *extra, const char *named)
{
	char list[4096];
	struct err e = {};

	snprintf(list, sizeof(list), "%s%s", base, extra);
	assert_int_equal(ramblock_check(list, RAM_BYTES, &e), -ENOTSUP);
	if (!strstr(e.msg, named))
		fail_msg("\"%s\" does not name \"%s\"", e.msg, named);
}

static void the_lists_of_real_qemus_pass(void **state)
{
	struct err e = {};

	(void)state;
	if (ramblock_check(list_7_2, RAM_BYTES, &e) || ramblock_check(list_10_0, RAM_BYTES, &e))
		fail_msg("%s", err_msg(&e));
}

static void writable_blocks_are_refused_by_name(void **state)
{
	(void)state;
	expect_list_refused(list_7_2, "0000:00:02.0/vga.vram 4 KiB 0x1 0x2 0x1000000\r\n",
			    "-vga none");
	expect_list_refused(list_7_2, "system.flash0 4 KiB 0x1 0x2 0x3\n", "-bios");
	expect_list_refused(list_7_2, "0000:00:03.0/nvme.cmb 4 KiB 0x1 0x2 0x3\n", "0000:00:03.0");
	expect_list_refused(list_7_2, "a b 2 MiB 0x1 0x2 0x3\n", "\"a b\"");
	/* What QEMU says itself counts more than the name. */
	expect_list_refused(list_10_0, "pc.rom 4 KiB 0x1 0x2 0x3 0x7f00 rw\n", "pc.rom");
	assert_int_equal(
		ramblock_check("colod-ram 2 MiB 0x0 0x4000000 0x4000000 0x7f0000000000 rw\n"
			       "odd 4 KiB 0x1 0x2 0x3 0x7f00 ro more columns\n",
			       RAM_BYTES, NULL),
		0);
}

static void main_memory_must_be_colods_and_whole(void **state)
{
	struct err e = {};

	(void)state;
	assert_int_equal(ramblock_check(list_7_2, RAM_BYTES * 2, &e), -EINVAL);
	assert_non_null(strstr(e.msg, "67108864"));
	assert_int_equal(ramblock_check("", RAM_BYTES, &e), -EINVAL);
	assert_int_equal(ramblock_check("pc.bios 4 KiB 0x0 0x1 0x1\n", RAM_BYTES, &e), -EINVAL);
	assert_non_null(strstr(e.msg, "colod's memory"));
}

static void lists_of_unknown_form_are_refused(void **state)
{
	static const char *const odd[] = {
		"hello world\n",
		"colod-ram 4 KiB 0x0 0x4000000\n",
		"colod-ram 4 KB 0x0 0x4000000 0x4000000\n",
		"colod-ram four KiB 0x0 0x4000000 0x4000000\n",
		"colod-ram 4 KiB 0 0x4000000 0x4000000\n",
		"colod-ram 4 KiB 0x0 0x4000000 0x40000000000000000\n",
		"colod-ram 4 KiB 0x0 0x-4000000 0x4000000\n",
		"4 KiB 0x0 0x4000000 0x4000000\n",
	};
	char line[700];
	struct err e = {};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(odd); i++)
		if (ramblock_check(odd[i], RAM_BYTES, &e) != -EPROTO)
			fail_msg("accepted: %s", odd[i]);
	snprintf(line, sizeof(line), "%0600d 4 KiB 0x0 0x1 0x1\n", 0);
	assert_int_equal(ramblock_check(line, RAM_BYTES, &e), -EPROTO);
	snprintf(line, sizeof(line), "%0300d 4 KiB 0x0 0x1 0x1\n", 0);
	assert_int_equal(ramblock_check(line, RAM_BYTES, &e), -EPROTO);
}

/* ---- QMP answers ---- */

static struct json_object *parse(const char *text)
{
	struct json_object *o = json_tokener_parse(text);

	assert_true(o || !strcmp(text, "null"));
	return o;
}

typedef int (*check_fn)(struct json_object *ret, struct err *e);

/* @named: a part of the reason, NULL when the answer must pass. */
static void expect(check_fn fn, const char *json, int want, const char *named)
{
	struct json_object *o = parse(json);
	struct err e = {};

	assert_int_equal(fn(o, &e), want);
	if (named && !strstr(e.msg, named))
		fail_msg("\"%s\" does not name \"%s\"", e.msg, named);
	json_object_put(o);
}

static void the_guest_must_not_have_run(void **state)
{
	(void)state;
	expect(check_status, "{\"status\":\"prelaunch\",\"running\":false}", 0, NULL);
	expect(check_status, "{\"status\":\"running\",\"running\":true}", -ENOTSUP, "running");
	expect(check_status, "{\"status\":7}", -EPROTO, "query-status");
	expect(check_status, "null", -EPROTO, "query-status");
}

static void iothreads_are_refused(void **state)
{
	(void)state;
	expect(check_iothreads, "[]", 0, NULL);
	expect(check_iothreads, "[{\"id\":\"io0\",\"thread-id\":5}]", -ENOTSUP, "io0");
	expect(check_iothreads, "[7]", -ENOTSUP, "iothread");
	expect(check_iothreads, "{}", -EPROTO, NULL);
}

static void memory_devices_are_refused(void **state)
{
	(void)state;
	expect(check_memory_devices, "[]", 0, NULL);
	expect(check_memory_devices, "[{\"type\":\"dimm\",\"data\":{\"id\":\"d0\"}}]", -ENOTSUP,
	       "d0");
	expect(check_memory_devices, "[{}]", -ENOTSUP, "memory device");
	expect(check_memory_devices, "5", -EPROTO, NULL);
}

static void migration_blockers_are_listed(void **state)
{
	(void)state;
	expect(check_blockers, "{}", 0, NULL);
	expect(check_blockers, "{\"blocked-reasons\":[]}", 0, NULL);
	expect(check_blockers, "{\"blocked-reasons\":[\"first\",\"second\"]}", -ENOTSUP,
	       "first; second");
	expect(check_blockers, "[]", -EPROTO, NULL);
}

static void writable_disks_are_refused(void **state)
{
	(void)state;
	expect(check_disks, "[]", 0, NULL);
	expect(check_disks, "[{\"device\":\"ide1-cd0\",\"removable\":true}]", 0, NULL);
	expect(check_disks, "[{\"device\":\"d\",\"inserted\":{\"ro\":true,\"file\":\"/f\"}}]", 0,
	       NULL);
	expect(check_disks, "[{\"device\":\"d\",\"inserted\":{\"ro\":false,\"file\":\"/f\"}}]",
	       -ENOTSUP, "\"d\" (/f)");
	expect(check_disks, "[{\"device\":\"\",\"qdev\":\"/machine/x\",\"inserted\":{}}]", -ENOTSUP,
	       "/machine/x");
	expect(check_disks, "null", -EPROTO, NULL);
}

static void images_past_the_page_cache_are_refused(void **state)
{
	(void)state;
	expect(check_nodes, "[{\"node-name\":\"n\",\"drv\":\"file\",\"cache\":{\"direct\":false}}]",
	       0, NULL);
	expect(check_nodes, "[{\"node-name\":\"n\",\"file\":\"/f\",\"cache\":{\"direct\":true}}]",
	       -ENOTSUP, "O_DIRECT");
	expect(check_nodes, "[{\"node-name\":\"n\",\"drv\":\"nvme\"}]", -ENOTSUP, "nvme");
	expect(check_nodes, "{}", -EPROTO, NULL);
}

static int machine_of(struct json_object *ret, struct err *e)
{
	struct guest g = {};
	int r = check_machine(&g, ret, e);

	if (!r)
		assert_string_equal(g.machine, "pc-q35-7.2");
	return r;
}

static void the_machine_type_is_canonical(void **state)
{
	char json[200];

	(void)state;
	expect(machine_of, "\"pc-q35-7.2-machine\"", 0, NULL);
	expect(machine_of, "\"isapc-machine\"", -ENOTSUP, "isapc");
	expect(machine_of, "\"microvm-machine\"", -ENOTSUP, "microvm");
	expect(machine_of, "7", -EPROTO, NULL);
	snprintf(json, sizeof(json), "\"%0100d\"", 0);
	expect(machine_of, json, -EPROTO, NULL);
}

static void cpus_are_counted_and_named(void **state)
{
	struct json_object *cpus = parse("[{\"qom-path\":\"/machine/unattached/device[0]\"},{}]");
	struct json_object *none = parse("[]"), *nameless = parse("[{}]");
	struct guest g = {};
	char path[64];

	(void)state;
	assert_int_equal(check_cpus(&g, cpus, path, sizeof(path), NULL), 0);
	assert_int_equal(g.vcpus, 2);
	assert_string_equal(path, "/machine/unattached/device[0]");
	assert_int_equal(check_cpus(&g, cpus, path, 8, NULL), -EPROTO);
	assert_int_equal(check_cpus(&g, none, path, sizeof(path), NULL), -EPROTO);
	assert_int_equal(check_cpus(&g, nameless, path, sizeof(path), NULL), -EPROTO);
	json_object_put(cpus);
	json_object_put(none);
	json_object_put(nameless);
}

static void versions_before_7_2_are_refused(void **state)
{
	struct guest g = {};
	struct err e = {};

	(void)state;
	assert_int_equal(check_version(&g, &(struct qmp_version){7, 2, 22}, &e), 0);
	assert_string_equal(g.version, "7.2.22");
	assert_int_equal(check_version(&g, &(struct qmp_version){10, 0, 2}, &e), 0);
	assert_int_equal(check_version(&g, &(struct qmp_version){7, 1, 0}, &e), -ENOTSUP);
	assert_int_equal(check_version(&g, &(struct qmp_version){6, 9, 9}, &e), -ENOTSUP);
	assert_non_null(strstr(e.msg, "6.9.9"));
}

static void an_fdset_becomes_a_file_name(void **state)
{
	struct json_object *set = parse("{\"fd\":12,\"fdset-id\":3}"), *odd = parse("{}");
	char path[32];

	(void)state;
	assert_int_equal(check_fdset(set, path, sizeof(path), NULL), 0);
	assert_string_equal(path, "/dev/fdset/3");
	assert_int_equal(check_fdset(odd, path, sizeof(path), NULL), -EPROTO);
	json_object_put(set);
	json_object_put(odd);
}

/* ---- /proc/PID/maps ---- */

static int find(const char *maps, uint64_t bytes, uint64_t *va)
{
	const struct stat st = {.st_dev = makedev(0, 1), .st_ino = 42};

	return maps_find(maps, &st, bytes, va, NULL);
}

#define OTHER "560000000000-560000001000 r-xp 00000000 fe:01 42 /usr/bin/qemu\n"
#define FIRST "7f0000000000-7f0000200000 rw-s 00000000 00:01 42 /memfd:colod-ram (deleted)\n"
#define NEXT  "7f0000200000-7f0000400000 rw-s 00200000 00:01 42 /memfd:colod-ram (deleted)\n"
#define APART "7f0000600000-7f0000800000 rw-s 00200000 00:01 42 /memfd:colod-ram (deleted)\n"

static void guest_memory_is_found_in_the_maps(void **state)
{
	uint64_t va = 0;

	(void)state;
	assert_int_equal(find(OTHER FIRST, 2 * MIB, &va), 0);
	assert_int_equal(va, 0x7f0000000000);
	va = 0;
	assert_int_equal(find(OTHER FIRST NEXT "garbage\n", 4 * MIB, &va), 0);
	assert_int_equal(va, 0x7f0000000000);
}

static void guest_memory_in_another_shape_is_refused(void **state)
{
	uint64_t va;

	(void)state;
	assert_int_equal(find(OTHER, 2 * MIB, &va), -ENOENT);
	assert_int_equal(find("", 2 * MIB, &va), -ENOENT);
	assert_int_equal(find(FIRST, 4 * MIB, &va), -EINVAL);
	assert_int_equal(find(FIRST NEXT, 2 * MIB, &va), -EINVAL);
	assert_int_equal(find(FIRST APART, 4 * MIB, &va), -EINVAL);
	assert_int_equal(find(NEXT, 2 * MIB, &va), -EINVAL);
	assert_int_equal(find(FIRST FIRST, 4 * MIB, &va), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_lists_of_real_qemus_pass),
		cmocka_unit_test(writable_blocks_are_refused_by_name),
		cmocka_unit_test(main_memory_must_be_colods_and_whole),
		cmocka_unit_test(lists_of_unknown_form_are_refused),
		cmocka_unit_test(the_guest_must_not_have_run),
		cmocka_unit_test(iothreads_are_refused),
		cmocka_unit_test(memory_devices_are_refused),
		cmocka_unit_test(migration_blockers_are_listed),
		cmocka_unit_test(writable_disks_are_refused),
		cmocka_unit_test(images_past_the_page_cache_are_refused),
		cmocka_unit_test(the_machine_type_is_canonical),
		cmocka_unit_test(cpus_are_counted_and_named),
		cmocka_unit_test(versions_before_7_2_are_refused),
		cmocka_unit_test(an_fdset_becomes_a_file_name),
		cmocka_unit_test(guest_memory_is_found_in_the_maps),
		cmocka_unit_test(guest_memory_in_another_shape_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
