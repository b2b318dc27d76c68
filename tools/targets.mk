# SPDX-License-Identifier: BSD-2-Clause
# What one does with Cairn besides compiling it; the Makefile includes this file.
#
# The goals that must work on a fresh machine call make again after `deps`, because what the
# Makefile finds at its start (third-party source, compilers) is not there before.

ELF := $(B)/cairn.elf

help:
	@echo 'make            build/cairn.elf'
	@echo 'make run        install what is missing, build, boot with two sample disks'
	@echo 'make test       everything that checks, each test with its seconds; T=name for some'
	@echo 'make soak       the same tests at full counts; T=name for some'
	@echo 'make golden     volumes that Linux made, of a folder: GOLDEN=folder'
	@echo 'make unit       host tests alone'
	@echo 'make bench      guest instructions, beside those of a Linux guest'
	@echo 'make lint       clang-format and clang-tidy'
	@echo 'make gdb        boot under gdb'
	@echo 'make deps       install the Debian packages of tools/packages.txt, fetch the source'
	@echo '                packages of tools/sources.txt'
	@echo 'make clean      remove build/ (.deps stays)'

deps:
	$(Q)tools/deps
	$(Q)tools/fetch-deps

run: deps
	$(Q)$(MAKE) --no-print-directory $(ELF)
	$(Q)tools/run $(ELF)

test: deps
	$(Q)tools/test

# Volumes made by real Linux: make golden GOLDEN=folder
golden: deps
	$(Q)$(MAKE) --no-print-directory $(ELF)
	$(Q)cd tests/qemu && CAIRN_GOLDEN=$(abspath $(or $(GOLDEN),../shared/golden)) \
		/usr/bin/python3 -m pytest -q -p no:cacheprovider test_volumes.py

soak: deps
	$(Q)CAIRN_SOAK=1 tools/test

bench: deps
	$(Q)tools/fetch-deps linux
	$(Q)$(MAKE) --no-print-directory $(ELF)
	$(Q)tools/bench/bench.py; a=$$?; tools/bench/net.py && exit $$a

gdb: deps
	$(Q)$(MAKE) --no-print-directory $(ELF)
	$(Q)tools/run --gdb $(ELF)

lint:
	$(Q)tools/lint

# An own build whose flushes are answered but not sent: the crash test must catch it.
mutant-flush:
	$(Q)$(MAKE) --no-print-directory B=$(B)/mutant-flush MUTANT=-DMUTANT_FLUSH_NOT_SENT \
		$(B)/mutant-flush/cairn.elf

export B T

.PHONY: help deps run test golden soak bench gdb lint mutant-flush
