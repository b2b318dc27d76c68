# SPDX-License-Identifier: BSD-2-Clause
# Cairn: `make` builds build/cairn.elf, `make unit` the host tests.  B= names another build folder.
# run, test, soak, bench, gdb, lint and deps are in tools/targets.mk.

B	?= build
CC	:= gcc
HOSTCC	?= clang
Q	:= @
ifdef V
Q	:=
endif

all: $(B)/cairn.elf

# ---- what there is ----
KERNEL_DIRS := boot kernel kernel/lib kernel/x86 kernel/crypto drivers drivers/pci drivers/virtio \
	       drivers/nvme mapper mapper/formats targets net exports exports/scsi exports/iscsi shell
HOST_DIRS   := kernel/lib kernel/crypto drivers drivers/pci drivers/virtio drivers/nvme mapper \
	       mapper/formats targets exports exports/scsi exports/iscsi shell tests/host
# The only files of those folders that know the machine itself.
HOST_SKIP   := drivers/pci/pci_access.c

KERNEL_SRC := $(sort $(wildcard $(addsuffix /*.c,$(KERNEL_DIRS)) $(addsuffix /*.S,$(KERNEL_DIRS))))
HOST_SRC   := $(sort kernel/acpi.c $(filter-out $(HOST_SKIP),$(wildcard $(addsuffix /*.c,$(HOST_DIRS)))))
UNIT_SRC   := $(sort $(wildcard tests/unit/test_*.c))

# Third-party sources (tools/fetch-deps puts them under .deps) and their flags.
THIRD_SRC    :=
KERNEL_THIRD_SRC :=
THIRD_CFLAGS :=
THIRD_FREESTANDING_CFLAGS :=
-include kernel/crypto/third.mk
-include drivers/virtio/virtio.mk
-include net/net.mk

# ---- flags ----
WARN := -Wall -Wextra -Werror -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wundef -Wvla \
	-Wpointer-arith -Wwrite-strings -Wformat=2 -Wno-unused-parameter -Wno-sign-compare
COMMON := -std=gnu11 -g -I. $(WARN) $(VIRTIO_CFLAGS) -MMD -MP
FREE := -ffreestanding -nostdlib -fno-pie -fno-pic -mno-red-zone -mcmodel=kernel -march=x86-64 \
	-mgeneral-regs-only -fno-omit-frame-pointer -fno-asynchronous-unwind-tables \
	-fcf-protection=none -fno-strict-aliasing -ffunction-sections -fdata-sections \
	-fno-tree-loop-distribute-patterns \
	-mmemcpy-strategy=unrolled_loop:256:noalign,libcall:-1:noalign \
	-mmemset-strategy=unrolled_loop:256:noalign,libcall:-1:noalign \
	-fstack-protector-strong -mstack-protector-guard=tls -mstack-protector-guard-reg=gs \
	-mstack-protector-guard-offset=40
KCFLAGS := $(COMMON) -O2 $(FREE) $(MUTANT)
LDFLAGS := -nostdlib -static -no-pie -Wl,--build-id=sha1 -Wl,-z,max-page-size=4096 -Wl,--gc-sections \
	   -Wl,-z,noexecstack -Wl,--no-warn-rwx-segments
HOST_SAN    := -fsanitize=address,undefined -fno-sanitize-recover=all
HOST_CFLAGS := $(COMMON) -O1 -fno-omit-frame-pointer $(HOST_SAN) -DCAIRN_HOST -Itests
VERSION     := $(shell git describe --always --dirty 2>/dev/null || echo unknown)

# ---- the kernel ----
KOBJ := $(patsubst %,$(B)/kernel/%.o,$(KERNEL_SRC))
TOBJ := $(patsubst %,$(B)/kernel/%.o,$(THIRD_SRC) $(KERNEL_THIRD_SRC))

$(B)/kernel/%.c.o: %.c Makefile
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(KCFLAGS) $(KCFLAGS_$(subst /,_,$*)) -c -o $@ $<

$(B)/kernel/%.S.o: %.S Makefile
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(COMMON) $(FREE) -c -o $@ $<

$(B)/kernel/.deps/%.c.o: .deps/%.c Makefile
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) -std=gnu11 -O2 -g -w $(FREE) $(THIRD_CFLAGS) $(THIRD_FREESTANDING_CFLAGS) -MMD -MP -c -o $@ $<

$(B)/version.h: FORCE
	$(Q)mkdir -p $(@D)
	$(Q)echo '#define CAIRN_VERSION "0.1 ($(VERSION))"' > $@.new
	$(Q)cmp -s $@.new $@ && rm $@.new || mv $@.new $@
$(B)/kernel/kernel/version.c.o: $(B)/version.h
KCFLAGS_kernel_version := -I$(B)

# Linked twice: the second time with the symbol table of the first inside, for backtraces.
$(B)/cairn.1.elf: $(KOBJ) $(TOBJ) boot/cairn.lds
	$(Q)$(CC) $(LDFLAGS) -T boot/cairn.lds -o $@ $(KOBJ) $(TOBJ)

$(B)/ksyms.S: $(B)/cairn.1.elf tools/ksyms
	$(Q)tools/ksyms $< > $@

$(B)/cairn.debug.elf: $(B)/cairn.1.elf $(B)/ksyms.S boot/cairn.lds
	$(Q)$(CC) $(FREE) -c -o $(B)/ksyms.o $(B)/ksyms.S
	$(Q)$(CC) $(LDFLAGS) -T boot/cairn.lds -o $@ $(KOBJ) $(TOBJ) $(B)/ksyms.o

$(B)/cairn.elf: $(B)/cairn.debug.elf
	$(Q)objcopy --strip-all $< $@
	$(Q)nm -n $< > $(B)/cairn.map
	$(Q)echo "$@: $$(stat -c %s $@) bytes"

# ---- the host: everything portable under ASan and UBSan, over tests/host ----
HOBJ := $(patsubst %,$(B)/host/%.o,$(HOST_SRC)) $(patsubst %,$(B)/host/%.o,$(THIRD_SRC))

$(B)/host/.deps/%.c.o: .deps/%.c Makefile
	$(Q)mkdir -p $(@D)
	$(Q)$(HOSTCC) -std=gnu11 -O1 -g -w $(HOST_SAN) $(THIRD_CFLAGS) -MMD -MP -c -o $@ $<

$(B)/host/%.c.o: %.c Makefile
	$(Q)mkdir -p $(@D)
	$(Q)$(HOSTCC) $(HOST_CFLAGS) -c -o $@ $<

$(B)/host/libcairn.a: $(HOBJ)
	$(Q)rm -f $@
	$(Q)ar rcs $@ $(HOBJ)

UNIT := $(patsubst tests/unit/%.c,$(B)/unit/%,$(UNIT_SRC))

$(B)/unit/%: $(B)/host/tests/unit/%.c.o $(B)/host/libcairn.a
	$(Q)mkdir -p $(@D)
	$(Q)$(HOSTCC) $(HOST_SAN) -o $@ $< $(B)/host/libcairn.a -lcmocka

unit-build: $(UNIT)
unit: $(UNIT)
	$(Q)tools/run-unit $(if $(T),$(filter %/test_$(T),$(UNIT)),$(UNIT))

clean:
	$(Q)rm -rf $(B)

-include tools/targets.mk
-include $(KOBJ:.o=.d) $(TOBJ:.o=.d) $(HOBJ:.o=.d) $(patsubst tests/unit/%.c,$(B)/host/tests/unit/%.c.d,$(UNIT_SRC))

.PHONY: all unit unit-build clean FORCE
.SECONDARY:
.DELETE_ON_ERROR:
