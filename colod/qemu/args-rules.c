// SPDX-License-Identifier: GPL-2.0-or-later
/* Refused QEMU arguments: colod gives them itself, or what they ask for cannot be protected.
 *
 * This table is for clear words at the earliest moment, it need not be complete: what slips through
 * is found in the running QEMU (qemu-check.h). */
#include "colod/qemu/args-rules.h"

#include <stddef.h>

#define IMPLIED(key) "@(|" key ")"
#define ON           "@(on|true|yes|y)"

#define WHY_MEMORY                                                                                 \
	"the guest's memory comes from the keys memory and memory_page_size; remove the argument"
#define WHY_RUN   "colod decides itself when the guest starts and stops; remove the argument"
#define WHY_STATE "colod decides itself where the guest's state comes from; remove the argument"
#define WHY_HIDES "it can hide arguments that colod must see; write them out in qemu_args"
#define WHY_NAMES "names that begin with colod- belong to colod; choose another one"
#define WHY_DIRECT                                                                                 \
	"O_DIRECT reads reach guest memory behind the back of dirty tracking; use cache=writeback"
#define WHY_FLASH                                                                                  \
	"flash memory is writable and is not replicated; give the firmware with -bios instead"
#define WHY_IOTHREAD                                                                               \
	"disks in an iothread lose interrupts across checkpoints; use the device without iothread"
#define WHY_OTHER_PROCESS                                                                          \
	"another process or a device writes into guest memory there, unseen by dirty tracking; "   \
	"use "                                                                                     \
	"a device that QEMU emulates itself"
#define WHY_PASSTHROUGH                                                                            \
	"hardware of one host cannot follow the guest to the other; use an emulated device"
#define WHY_MORE_MEMORY "memory besides the main memory is not replicated; raise the key memory"
#define WHY_BALLOON     "pages that a balloon gives back escape dirty tracking; remove the device"
#define WHY_VIDEO                                                                                  \
	"video memory is writable and is not replicated; use -vga none and a serial console"
#define WHY_OUTPUT                                                                                 \
	"colod must hold the guest's output; use nic = in the configuration file, colod.conf(5)"
#define WHY_FILES                                                                                  \
	"a folder of one host cannot follow the guest to the other; use a network file system"
#define WHY_TPM     "the state of a TPM lies outside of the guest; remove it"
#define WHY_ENCRYPT "encrypted memory cannot be copied to the other host; remove it"

const struct arg_rule arg_rules[] = {
	{"@(m|mem-path|mem-prealloc)", NULL, NULL, WHY_MEMORY},
	{"numa", NULL, NULL, "memory in several parts is not replicated; remove the argument"},
	{"@(machine|M)", "@(memory-backend|memdev)", NULL, WHY_MEMORY},
	{"@(machine|M)", "suppress-vmdesc", NULL, "colod sets it; remove it"},
	{"@(machine|M)", "pflash*", NULL, WHY_FLASH},
	{"@(machine|M)", "sgx-epc*", NULL, WHY_MORE_MEMORY},
	{"@(machine|M)", "@(confidential-guest-support|memory-encryption)", NULL, WHY_ENCRYPT},
	{"overcommit", "mem-lock", NULL, "colod locks the guest's memory itself; remove it"},

	{"@(S|preconfig)", NULL, NULL, WHY_RUN},
	{"@(incoming|loadvm)", NULL, NULL, WHY_STATE},
	{"global", "migration.*", NULL, WHY_STATE},
	{"global", "driver", "migration", WHY_STATE},
	{"no-shutdown", NULL, NULL, "colod gives it itself; remove it"},
	{"action", "shutdown", NULL, "colod follows a shutdown itself; remove it"},
	{"daemonize", NULL, NULL, "colod watches the process itself; remove the argument"},
	{"run-with", "exit-with-parent", NULL, "the guest outlives colod; remove it"},
	{"@(readconfig|set)", NULL, NULL, WHY_HIDES},
	{"add-fd", NULL, NULL, "QEMU gets its descriptors from colod; give file names instead"},

	{"@(object|device|blockdev|chardev|drive|netdev|nic|mon)", "@(id|node-name)", "colod-*",
	 WHY_NAMES},

	{"pflash", NULL, NULL, WHY_FLASH},
	{"drive", "if", "pflash", WHY_FLASH},
	{"drive", "cache", "@(none|directsync)", WHY_DIRECT},
	{"@(drive|blockdev)", "?(*.)cache.direct", ON, WHY_DIRECT},

	{"object", IMPLIED("qom-type"), "memory-backend-*", WHY_MORE_MEMORY},
	{"object", IMPLIED("qom-type"), "iothread", WHY_IOTHREAD},
	{"object", IMPLIED("qom-type"), "*vhost-user*", WHY_OTHER_PROCESS},
	{"object", IMPLIED("qom-type"), "@(sev-guest|sev-snp-guest|tdx-guest)", WHY_ENCRYPT},

	{"netdev", NULL, NULL, WHY_OUTPUT},
	{"@(nic|net)", IMPLIED("type"), "!(none)", WHY_OUTPUT},
	{"device", "netdev", NULL, WHY_OUTPUT},

	{"device", "iothread*", NULL, WHY_IOTHREAD},
	{"device", IMPLIED("driver"), "vfio*", WHY_PASSTHROUGH},
	{"device", IMPLIED("driver"), "@(usb-host|scsi-block|scsi-generic|pvrdma)",
	 WHY_PASSTHROUGH},
	{"device", IMPLIED("driver"), "vhost-@(user|vdpa|scsi)*", WHY_OTHER_PROCESS},
	{"device", IMPLIED("driver"), "@(*virtiofs*|ivshmem*|x-pci-proxy-dev)", WHY_OTHER_PROCESS},
	{"device", IMPLIED("driver"), "@(pc-dimm|nvdimm|virtio-mem*|virtio-pmem*|cxl-*)",
	 WHY_MORE_MEMORY},
	{"device", IMPLIED("driver"), "virtio-balloon*", WHY_BALLOON},
	{"device", IMPLIED("driver"),
	 "@(VGA|secondary-vga|isa-vga|cirrus-vga|isa-cirrus-vga|ati-vga|vmware-svga|qxl|qxl-vga|"
	 "bochs-display|virtio-vga*)",
	 WHY_VIDEO},
	{"vga", IMPLIED("type"), "!(none)", WHY_VIDEO},
	{"device", IMPLIED("driver"), "virtio-9p*", WHY_FILES},
	{"@(virtfs|fsdev)", NULL, NULL, WHY_FILES},
	{"tpmdev", NULL, NULL, WHY_TPM},
	{},
};
