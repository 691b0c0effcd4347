# SPDX-License-Identifier: GPL-2.0-or-later
# The system tests and the demo: real QEMUs, real namespaces; needs root.

.PHONY: check-system run-demo

GUEST_SRC := tools/build-guest tests/guest/init $(wildcard tests/guest/*.c)
SYSTEM_NEEDS = all $(BUILD)/guest/initrd.gz $(BUILD)/qemu10/qemu-system-x86_64
SYSTEM_RUN = COLOD_TEST_FULL=$(COLOD_TEST_FULL) COLOD_BUILD=$(abspath $(BUILD)) PYTHONDONTWRITEBYTECODE=1 /usr/bin/python3

$(BUILD)/kernel/vmlinuz: | tools/fetch-kernel
	tools/fetch-kernel $(BUILD)

$(BUILD)/guest/initrd.gz: $(GUEST_SRC) | $(BUILD)/kernel/vmlinuz
	tools/build-guest $(BUILD)

$(BUILD)/qemu10/qemu-system-x86_64: | tools/fetch-qemu10
	tools/fetch-qemu10 $(BUILD)

# PYTEST_ARGS narrows a run: make check-system PYTEST_ARGS='-k switch -x'
check-system: $(SYSTEM_NEEDS) $(BUILD)/tests/unit/test-qemu
	COLOD_TEST_QEMU=$(abspath $(BUILD))/qemu10/qemu-system-x86_64 $(BUILD)/tests/unit/test-qemu
	$(SYSTEM_RUN) -m pytest -q -p no:cacheprovider --durations=10 -rA --tb=short tests/system $(PYTEST_ARGS)

# SCENARIO=net: what the guest's clients see; engine: checkpoints and memory, without a network.
SCENARIO ?= net
run-demo: $(SYSTEM_NEEDS)
	$(SYSTEM_RUN) tools/demo $(SCENARIO)
