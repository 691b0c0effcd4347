# SPDX-License-Identifier: GPL-2.0-or-later
# The system tests and the demo: real QEMUs, real namespaces; needs root.

.PHONY: check-system run-demo

GUEST_SRC := tools/build-guest tests/guest/init $(wildcard tests/guest/*.[ch])
SYSTEM_NEEDS = all $(BUILD)/guest/initrd.gz $(BUILD)/qemu10/qemu-system-x86_64 $(BUILD)/etcd/etcd \
	$(BUILD)/tests/arbiter-host
SYSTEM_RUN = COLOD_TEST_FULL=$(COLOD_TEST_FULL) COLOD_BUILD=$(abspath $(BUILD)) PYTHONDONTWRITEBYTECODE=1 /usr/bin/python3

$(BUILD)/kernel/vmlinuz: | tools/fetch-kernel
	tools/fetch-kernel $(BUILD)

$(BUILD)/guest/initrd.gz: $(GUEST_SRC) | $(BUILD)/kernel/vmlinuz
	tools/build-guest $(BUILD)

$(BUILD)/qemu10/qemu-system-x86_64: | tools/fetch-qemu10
	tools/fetch-qemu10 $(BUILD)

$(BUILD)/etcd/etcd: | tools/fetch-etcd
	tools/fetch-etcd $(BUILD)

$(BUILD)/tests/arbiter-host: tests/system/arbiter-host.c $(BUILD)/libcolod.a
	@mkdir -p $(@D)
	$(call say,LD,$@)
	$(Q)$(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS) -MMD -MP -MF $(BUILD)/arbiter-host.d -o $@ $< $(BUILD)/libcolod.a $(LDLIBS)

# PYTEST_ARGS narrows a run: make check-system PYTEST_ARGS='-k switch -x'
PYTEST = $(SYSTEM_RUN) -m pytest -q -p no:cacheprovider --durations=10 -rA --tb=short
# Two halves that take the same time.
NET_TESTS := $(filter-out %/test_net_plain.py %/test_net_mtu.py,$(wildcard tests/system/test_net_*.py)) \
	tests/system/test_arbiter.py
ENGINE_TESTS := $(filter-out $(NET_TESTS),$(wildcard tests/system/test_*.py))

ifdef PYTEST_ARGS
check-system: $(SYSTEM_NEEDS)
	$(PYTEST) tests/system $(PYTEST_ARGS)
else
check-system: $(SYSTEM_NEEDS)
	$(MAKE) -j2 -Otarget check-engine check-net
endif

.PHONY: check-engine check-net
check-engine: $(SYSTEM_NEEDS) $(BUILD)/tests/unit/test-qemu $(BUILD)/tests/unit/test-nbd-mirror
	COLOD_TEST_QEMU=$(abspath $(BUILD))/qemu10/qemu-system-x86_64 $(BUILD)/tests/unit/test-qemu
	COLOD_TEST_QEMU=$(abspath $(BUILD))/qemu10/qemu-system-x86_64 $(BUILD)/tests/unit/test-nbd-mirror
	$(PYTEST) $(ENGINE_TESTS)

check-net: $(SYSTEM_NEEDS)
	$(PYTEST) $(NET_TESTS)

# SCENARIO=net: what the guest's clients see; engine: checkpoints and memory, without a network.
SCENARIO ?= net
run-demo: $(SYSTEM_NEEDS)
	$(SYSTEM_RUN) tools/demo $(SCENARIO)
