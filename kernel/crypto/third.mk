# SPDX-License-Identifier: BSD-2-Clause
# What kernel/crypto takes from Mbed TLS and ISA-L (tools/fetch-deps), and how it is compiled: with
# our configuration, and in the kernel with no header of the C library but those in shim/.

CRYPTO_CFLAGS := -I. -I.deps/mbedtls/include -I.deps/isal/include \
		 '-DMBEDTLS_CONFIG_FILE=<kernel/crypto/mbedtls_config.h>'

THIRD_SRC += .deps/mbedtls/library/sha256.c .deps/mbedtls/library/md5.c .deps/isal/crc/crc_base.c
THIRD_CFLAGS += $(CRYPTO_CFLAGS)
THIRD_FREESTANDING_CFLAGS += -nostdinc -Ikernel/crypto/shim \
			     -isystem $(shell $(CC) -print-file-name=include)

# Our own file sees their headers the way they do.
KCFLAGS_kernel_crypto_crypto := $(CRYPTO_CFLAGS) $(THIRD_FREESTANDING_CFLAGS)
$(B)/host/kernel/crypto/%.c.o: HOST_CFLAGS += $(CRYPTO_CFLAGS)
