// SPDX-License-Identifier: GPL-2.0-or-later
/* QEMU's command line: what colod adds, what it leaves to the user, what it refuses and why. */
#include "base/cleanup.h"
#include "colod/core/words.h"
#include "colod/qemu/args.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static int check(const char *text, struct err *e)
{
	_cleanup_(cleanup_strv) char **words = NULL;

	assert_int_equal(words_split(&words, text, e), 0);
	return qemu_args_check(words, e);
}

static void expect_refused(const char *text, const char *named)
{
	struct err e = {};

	if (check(text, &e) != -EINVAL)
		fail_msg("\"%s\" was not refused", text);
	if (!strstr(e.msg, named) || strncmp(e.msg, "qemu_args: ", 11) || !strchr(e.msg, ';'))
		fail_msg("\"%s\": \"%s\" does not name \"%s\" and a remedy", text, e.msg, named);
}

static void expect_accepted(const char *text)
{
	struct err e = {};

	if (check(text, &e))
		fail_msg("\"%s\": %s", text, err_msg(&e));
}

/* The whole command line as one string, each word followed by a blank. */
static void build_with(const char *lines, const char *user, char *out, size_t size)
{
	_cleanup_(cleanup_strv) char **words = NULL;
	_cleanup_(cleanup_strv) char **argv = NULL;
	const struct qemu_fds fds = {.ram = 3, .qmp = 4, .taps = {6, 7, 8, 9, 10, 11, 12, 13}};
	char text[1024];
	struct config c;
	size_t used = 0;

	snprintf(text, sizeof(text), "listen=a:1\npeer=b:1\nmemory=64M\nqemu=/opt/q\n%s", lines);
	assert_int_equal(config_parse(&c, "web.conf", text, strlen(text), NULL), 0);
	assert_int_equal(words_split(&words, user, NULL), 0);
	assert_int_equal(qemu_args_build(&argv, &c, words, &fds, NULL), 0);
	*out = 0;
	for (char **w = argv; *w; w++)
		used += (size_t)snprintf(out + used, size - used, "%s ", *w);
	config_destroy(&c);
}

static void build(const char *user, char *out, size_t size)
{
	build_with("", user, out, size);
}

static void colods_own_arguments_follow_the_users(void **state)
{
	char line[2048];

	(void)state;
	build("-machine q35 -smp 2", line, sizeof(line));
	assert_string_equal(
		line,
		"/opt/q -machine q35 -smp 2 -object memory-backend-file,id=colod-ram,size=67108864,"
		"mem-path=/proc/self/fd/3,share=on,align=2M "
		"-machine memory-backend=colod-ram,suppress-vmdesc=on -m 65536K "
		"-chardev socket,id=colod-qmp,fd=4,server=on,wait=off "
		"-mon chardev=colod-qmp,mode=control -global migration.send-configuration=off "
		"-S -no-shutdown -name web -vga none -display none "
		"-nic none ");
}

static void each_card_gets_its_descriptor_and_the_mac_of_the_file(void **state)
{
	char line[4096];

	(void)state;
	build_with("nic = tap=t0 mac=52:54:00:0A:00:01 bridge=br0\n"
		   "nic = tap=t1 mac=52:54:00:00:00:02 model=e1000 device=addr=5,romfile=x\n"
		   "nic = tap=t2 mac=52:54:00:00:00:03 mtu=1400 device=csum=off\n",
		   "-smp 2", line, sizeof(line));
	assert_non_null(strstr(
		line,
		" -netdev tap,id=colod-net0,fd=6,vhost=off "
		"-device virtio-net-pci,netdev=colod-net0,"
		"mac=52:54:00:0a:00:01,id=colod-nic0,ctrl_vlan=off,guest_announce=off,romfile= "
		"-netdev tap,id=colod-net1,fd=7,vhost=off "
		"-device e1000,netdev=colod-net1,mac=52:54:00:00:00:02,"
		"id=colod-nic1,romfile=,addr=5,romfile=x "
		"-netdev tap,id=colod-net2,fd=8,vhost=off "
		"-device virtio-net-pci,netdev=colod-net2,"
		"mac=52:54:00:00:00:03,id=colod-nic2,ctrl_vlan=off,guest_announce=off,host_mtu="
		"1400,"
		"romfile=,csum=off "));
	assert_null(strstr(line, "-nic none"));
}

static void a_card_too_long_for_an_argument_is_refused_not_cut(void **state)
{
	static const char head[] = "listen=a:1\npeer=b:1\nmemory=64M\nnic = tap=t0 "
				   "mac=52:54:00:00:00:01 device=a=";
	const struct qemu_fds fds = {};
	char text[2048], **argv = NULL;
	struct config c;
	struct err e = {};

	(void)state;
	memset(text, 'x', sizeof(text));
	memcpy(text, head, sizeof(head) - 1);
	assert_int_equal(config_parse(&c, "web.conf", text, sizeof(text), &e), 0);
	assert_int_equal(qemu_args_build(&argv, &c, (char *[]){NULL}, &fds, &e), -E2BIG);
	assert_null(argv);
	config_destroy(&c);
}

static void qemus_default_card_never_appears(void **state)
{
	char line[4096];

	(void)state;
	build("-smp 2", line, sizeof(line));
	assert_non_null(strstr(line, " -nic none "));
	build("-nodefaults", line, sizeof(line));
	assert_null(strstr(line, "-nic"));
	build("-net none", line, sizeof(line));
	assert_null(strstr(line, "-nic"));
}

static void what_the_user_chose_is_not_added_again(void **state)
{
	char line[2048];

	(void)state;
	build("-name mine --nodefaults -vnc :1", line, sizeof(line));
	assert_null(strstr(line, "-name web"));
	assert_null(strstr(line, "-vga"));
	assert_null(strstr(line, "-display"));
	build("-vga none -nographic", line, sizeof(line));
	assert_null(strstr(strstr(line, "-vga none") + 1, "-vga"));
	assert_null(strstr(line, "-display"));
	/* A value that looks like an option is none. */
	build("-append -nographic", line, sizeof(line));
	assert_non_null(strstr(line, "-display none"));
}

static void what_colod_gives_itself_is_refused(void **state)
{
	(void)state;
	expect_refused("-m 512", "-m");
	expect_refused("--m 512", "-m");
	expect_refused("-mem-path /x", "-mem-path");
	expect_refused("-mem-prealloc", "-mem-prealloc");
	expect_refused("-numa node", "-numa");
	expect_refused("-machine q35,memory-backend=x", "memory-backend=x");
	expect_refused("-M memory-backend=x,type=q35", "memory-backend=x");
	expect_refused("-machine q35,suppress-vmdesc=off", "suppress-vmdesc");
	expect_refused("-S", "-S");
	expect_refused("-smp 2 --S", "-S");
	expect_refused("-preconfig", "-preconfig");
	expect_refused("-incoming defer", "-incoming");
	expect_refused("-loadvm x", "-loadvm");
	expect_refused("-daemonize", "-daemonize");
	expect_refused("-no-shutdown", "-no-shutdown");
	expect_refused("-action reboot=reset,shutdown=pause", "shutdown=pause");
	expect_refused("-overcommit mem-lock=on", "mem-lock");
	expect_refused("-overcommit cpu-pm=off,mem-lock", "mem-lock");
	expect_refused("-global migration.send-configuration=on", "migration");
	expect_refused("-global driver=migration,property=x,value=y", "migration");
	expect_refused("-readconfig /x", "-readconfig");
	expect_refused("-set device.d.iothread=i", "-set");
	expect_refused("-add-fd fd=3,set=1", "-add-fd");
	expect_refused("-run-with exit-with-parent=on", "exit-with-parent");
}

static void names_of_colod_are_refused(void **state)
{
	(void)state;
	expect_refused("-object rng-random,id=colod-r", "id=colod-r");
	expect_refused("-chardev null,id=colod-qmp", "id=colod-qmp");
	expect_refused("-blockdev null-co,node-name=colod-vs", "colod-vs");
	expect_refused("-device '{\"driver\":\"pvpanic\",\"id\":\"colod-x\"}'", "colod-x");
}

static void what_is_not_replicated_is_refused(void **state)
{
	(void)state;
	expect_refused("-pflash f", "-pflash");
	expect_refused("-drive if=pflash,file=f", "if=pflash");
	expect_refused("-drive file=f,if=pflash,readonly=on", "if=pflash");
	expect_refused("-machine q35,pflash0=f", "pflash0");
	expect_refused("-object memory-backend-ram,id=m,size=1M", "memory-backend-ram");
	expect_refused("-object qom-type=memory-backend-file,id=m", "memory-backend-file");
	expect_refused("-object '{\"qom-type\":\"memory-backend-memfd\",\"id\":\"m\"}'",
		       "memory-backend-memfd");
	expect_refused("-device pc-dimm,memdev=m", "pc-dimm");
	expect_refused("-device nvdimm,memdev=m", "nvdimm");
	expect_refused("-device virtio-mem-pci,memdev=m", "virtio-mem");
	expect_refused("-device virtio-pmem-pci,memdev=m", "virtio-pmem");
	expect_refused("-device virtio-balloon-pci", "virtio-balloon");
	expect_refused("-device ivshmem-plain,memdev=m", "ivshmem");
	expect_refused("-vga std", "-vga");
	expect_refused("-device VGA", "VGA");
	expect_refused("-device virtio-vga-gl", "virtio-vga");
	expect_refused("-tpmdev emulator,id=t", "-tpmdev");
	expect_refused("-virtfs local,path=/", "-virtfs");
}

static void writes_behind_the_trackers_back_are_refused(void **state)
{
	(void)state;
	expect_refused("-drive file=f,cache=none", "cache=none");
	expect_refused("-drive file=f,cache=directsync", "cache=directsync");
	expect_refused("-drive file=f,cache.direct=on", "cache.direct");
	expect_refused("-drive file=f,file.cache.direct=true", "cache.direct");
	expect_refused("-blockdev file,filename=f,node-name=n,cache.direct=on", "cache.direct");
	expect_refused("-blockdev '{\"driver\":\"raw\",\"file\":{\"driver\":\"file\","
		       "\"cache\":{\"direct\":true}}}'",
		       "cache.direct");
	expect_refused("-object iothread,id=io", "iothread");
	expect_refused("-device virtio-blk-pci,drive=d,iothread=io", "iothread=io");
	expect_refused("-device '{\"driver\":\"virtio-blk-pci\",\"iothread-vq-mapping\":"
		       "[{\"iothread\":\"io\"}]}'",
		       "iothread");
	expect_refused("-device vfio-pci,host=1:0.0", "vfio-pci");
	expect_refused("-device id=x,driver=vfio-pci", "vfio-pci");
	expect_refused("-device vhost-user-fs-pci,chardev=c", "vhost-user");
	expect_refused("-device vhost-vdpa-device-pci", "vhost-vdpa");
	expect_refused("-device vhost-scsi-pci,wwpn=w", "vhost-scsi");
	expect_refused("-device scsi-block,drive=d", "scsi-block");
}

static void output_that_nobody_would_hold_is_refused(void **state)
{
	(void)state;
	expect_refused("-netdev user,id=n", "-netdev");
	expect_refused("--netdev '{\"type\":\"user\",\"id\":\"n\"}'", "-netdev");
	expect_refused("-netdev vhost-user,id=n,chardev=c", "-netdev");
	expect_refused("-nic user", "-nic user");
	expect_refused("-nic model=e1000,type=tap", "type=tap");
	expect_refused("-net nic", "-net nic");
	expect_refused("-device virtio-net-pci,netdev=n", "netdev=n");
	expect_refused("-device '{\"driver\":\"e1000\",\"netdev\":\"n\"}'", "netdev=n");
	expect_refused("-device usb-net,netdev=colod-net0", "netdev=colod-net0");
	expect_accepted("-nic none");
	expect_accepted("-net none");
}

static void ordinary_guests_are_accepted(void **state)
{
	(void)state;
	expect_accepted("");
	expect_accepted("-machine q35,accel=kvm:tcg -cpu max -smp 2,sockets=1 -nodefaults");
	expect_accepted("-M pc-i440fx-7.2 -enable-kvm -no-reboot -action reboot=reset");
	expect_accepted("-kernel k -initrd i -append 'console=ttyS0 quiet' -serial file:/tmp/s");
	expect_accepted("-drive file=f,format=raw,if=virtio,readonly=on,cache=writeback");
	expect_accepted("-drive file=f,cache.direct=off -blockdev null-co,node-name=n");
	expect_accepted("-device virtio-rng-pci -object rng-random,id=r,filename=/dev/urandom");
	expect_accepted("-bios OVMF.fd -vga none -global kvm-pit.lost_tick_policy=discard");
	expect_accepted("-overcommit cpu-pm=off -run-with async-teardown=on -sandbox on");
}

static void values_are_not_mistaken_for_options(void **state)
{
	(void)state;
	expect_accepted("-append -S");
	expect_accepted("-append '-m 5'");
	expect_accepted("-name m -append numa");
	/* Two commas are one inside a value, not the start of a new part. */
	expect_accepted("-drive file=a,,if=pflash,readonly=on");
	expect_accepted("-device pvpanic,id=a,,iothread=b");
	expect_accepted("- -- ''");
}

static void broken_json_is_refused(void **state)
{
	struct err e = {};

	(void)state;
	assert_int_equal(check("-device '{\"driver\":'", &e), -EINVAL);
	assert_non_null(strstr(e.msg, "JSON"));
	assert_non_null(strstr(e.msg, "-device"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(colods_own_arguments_follow_the_users),
		cmocka_unit_test(each_card_gets_its_descriptor_and_the_mac_of_the_file),
		cmocka_unit_test(a_card_too_long_for_an_argument_is_refused_not_cut),
		cmocka_unit_test(qemus_default_card_never_appears),
		cmocka_unit_test(what_the_user_chose_is_not_added_again),
		cmocka_unit_test(what_colod_gives_itself_is_refused),
		cmocka_unit_test(names_of_colod_are_refused),
		cmocka_unit_test(what_is_not_replicated_is_refused),
		cmocka_unit_test(writes_behind_the_trackers_back_are_refused),
		cmocka_unit_test(output_that_nobody_would_hold_is_refused),
		cmocka_unit_test(ordinary_guests_are_accepted),
		cmocka_unit_test(values_are_not_mistaken_for_options),
		cmocka_unit_test(broken_json_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
