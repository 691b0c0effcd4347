# SPDX-License-Identifier: GPL-2.0-or-later
# Dirty tracking and packet queues on the kernels they are made for, in TCG guests, and the bench of the scans.

.PHONY: check-kernel bench-scan

BACKPORTS := bookworm-backports
TRACKER_TEST := $(BUILD)/tests/unit/test-tracker
RULES_TESTS := $(BUILD)/tests/unit/test-rules $(BUILD)/tests/unit/test-rules-traces
NFQUEUE_TEST := $(BUILD)/tests/unit/test-nfqueue
KERNEL_OLD := $(BUILD)/kernel/vmlinuz
KERNEL_NEW := $(BUILD)/kernel-$(BACKPORTS)/vmlinuz

# The tests of the preload library look for it two folders above themselves.
check-unit: $(BUILD)/colod-preload.so

$(KERNEL_NEW): | tools/fetch-kernel
	tools/fetch-kernel $(BUILD) $(BACKPORTS)

# Linux 6.1 has soft-dirty bits only, 6.12 has PAGEMAP_SCAN. RECLAIM: memory pressure, which takes the
# marks of RAM that is not locked, so that run must lose pages; THP: transparent huge pages everywhere.
BOOT_OLD = tests/kernel/boot $(KERNEL_OLD) $(TRACKER_TEST) COLOD_TEST_TRACKER=soft-dirty
BOOT_NEW = tests/kernel/boot $(KERNEL_NEW) $(TRACKER_TEST) COLOD_TEST_TRACKER=pagemap-scan
PRESSURE := COLOD_TEST_RECLAIM=1 COLOD_TEST_EPOCHS=20
BOOT_RULES = tests/kernel/boot-rules $(KERNEL_OLD)
check-kernel: $(TRACKER_TEST) $(RULES_TESTS) $(NFQUEUE_TEST) $(KERNEL_OLD) $(KERNEL_NEW)
	$(BOOT_OLD) $(PRESSURE)
	$(BOOT_OLD) $(PRESSURE) COLOD_TEST_UNLOCKED=1 | grep 'was written and not reported'
	$(BOOT_OLD) COLOD_TEST_THP=1
	$(BOOT_NEW) $(PRESSURE)
	$(BOOT_NEW) COLOD_TEST_THP=1
	$(BOOT_NEW) COLOD_TEST_HUGE=1
	@set -ex; for t in $(RULES_TESTS); do for kind in nft iptables; do \
		$(BOOT_RULES) $$t COLOD_TEST_RULES=$$kind; done; done
	$(BOOT_RULES) $(NFQUEUE_TEST)

$(BUILD)/bench/scan-bench: bench/scan-bench.c $(BUILD)/libcolod.a
	@mkdir -p $(@D)
	$(call say,LD,$@)
	$(Q)$(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS) -MMD -MP -MF $@.d -o $@ $< $(BUILD)/libcolod.a $(LDLIBS)

-include $(BUILD)/bench/scan-bench.d

# 8 GB of huge pages for its largest case.
bench-scan: $(BUILD)/bench/scan-bench
	tests/kernel/with-huge-pages 4096 $(BUILD)/bench/scan-bench $(BUILD)/bench/scan.jsonl
