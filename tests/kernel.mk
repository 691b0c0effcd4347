# SPDX-License-Identifier: GPL-2.0-or-later
# Dirty tracking, packet queues and TLS on the kernels they are made for, in TCG guests, and the bench of the scans.

.PHONY: check-kernel check-tracker-old check-tracker-new check-nft-old check-iptables-old check-tls-old \
	bench-scan

BACKPORTS := bookworm-backports
TRACKER_TEST := $(BUILD)/tests/unit/test-tracker
RULES_TESTS := $(patsubst %,$(BUILD)/tests/unit/%,test-rules test-rules-traces test-rules-watch)
TLS_TESTS := $(patsubst %,$(BUILD)/tests/unit/%,test-tls test-tls-stream test-tls-middle test-link-tls)
NFQUEUE_TEST := $(BUILD)/tests/unit/test-nfqueue
KERNEL_OLD := $(BUILD)/kernel/vmlinuz
KERNEL_NEW := $(BUILD)/kernel-$(BACKPORTS)/vmlinuz

# The tests of the preload library look for it two folders above themselves.
check-unit: $(BUILD)/colod-preload.so

$(KERNEL_NEW): | tools/fetch-kernel
	tools/fetch-kernel $(BUILD) $(BACKPORTS)

# One boot each, as a boot costs more than most tests; one at a time, as the tracker's writers take all they get.
check-kernel: $(TRACKER_TEST) $(RULES_TESTS) $(NFQUEUE_TEST) $(TLS_TESTS) $(KERNEL_OLD) $(KERNEL_NEW)
	$(MAKE) -j1 check-tracker-old check-tracker-new check-nft-old check-iptables-old \
		check-tls-old

# Linux 6.1 has soft-dirty bits only, 6.12 has PAGEMAP_SCAN. What the runs are says tests/kernel/init.
EPOCHS = $(if $(COLOD_TEST_FULL),,COLOD_TEST_EPOCHS=20)
check-tracker-old: $(TRACKER_TEST) $(KERNEL_OLD)
	tests/kernel/boot $(KERNEL_OLD) $(TRACKER_TEST) COLOD_TEST_TRACKER=soft-dirty \
		COLOD_TEST_RUNS=thp,pressure,unlocked $(EPOCHS)

check-tracker-new: $(TRACKER_TEST) $(KERNEL_NEW)
	tests/kernel/boot $(KERNEL_NEW) $(TRACKER_TEST) COLOD_TEST_TRACKER=pagemap-scan \
		COLOD_TEST_RUNS=huge,thp,pressure $(EPOCHS)

# Of the ways to remove rules two are a sample: in an emulated machine they take minutes.
WAYS = $(if $(COLOD_TEST_FULL),,COLOD_TEST_WAYS=2)
check-nft-old: $(RULES_TESTS) $(NFQUEUE_TEST) $(KERNEL_OLD)
	tests/kernel/boot-rules $(KERNEL_OLD) $(RULES_TESTS) $(NFQUEUE_TEST) COLOD_TEST_RULES=nft $(WAYS)

check-iptables-old: $(RULES_TESTS) $(KERNEL_OLD)
	tests/kernel/boot-rules $(KERNEL_OLD) $(RULES_TESTS) COLOD_TEST_RULES=iptables $(WAYS)

# The kernel's own TLS and the ciphers that it can do it with. Without COLOD_TEST_FULL no long streams.
TLS_MODULES := tls gcm ctr ghash-generic chacha20poly1305
TLS_COUNTS = $(if $(COLOD_TEST_FULL),,COLOD_TEST_STREAM_MB=4 COLOD_TEST_CONNECTIONS=50)
check-tls-old: $(TLS_TESTS) $(KERNEL_OLD)
	tests/kernel/boot -i init-net -p /bin/sh $(TLS_MODULES:%=-m %) $(KERNEL_OLD) $(TLS_TESTS) \
		COLOD_TEST_KERNEL_TLS=1 $(TLS_COUNTS)

$(BUILD)/bench/scan-bench: bench/scan-bench.c $(BUILD)/libcolod.a
	@mkdir -p $(@D)
	$(call say,LD,$@)
	$(Q)$(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS) -MMD -MP -MF $@.d -o $@ $< $(BUILD)/libcolod.a $(LDLIBS)

-include $(BUILD)/bench/scan-bench.d

# 8 GB of huge pages for its largest case.
bench-scan: $(BUILD)/bench/scan-bench
	tests/kernel/with-huge-pages 4096 $(BUILD)/bench/scan-bench $(BUILD)/bench/scan.jsonl
