/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * errno - error numbers, with Linux's values because dmsetup prints Linux's words for them.
 * Functions return 0 or a positive result on success and -E... on failure.
 */
#ifndef KERNEL_API_ERRNO_H
#define KERNEL_API_ERRNO_H

#if __STDC_HOSTED__
#include <errno.h>
#else
#define EPERM        1
#define ENOENT       2
#define EINTR        4
#define EIO          5
#define ENXIO        6
#define E2BIG        7
#define EBADF        9
#define EAGAIN       11
#define EWOULDBLOCK  EAGAIN
#define ENOMEM       12
#define EACCES       13
#define EFAULT       14
#define EBUSY        16
#define EEXIST       17
#define ENODEV       19
#define EINVAL       22
#define ENOTTY       25
#define EFBIG        27
#define ENOSPC       28
#define EROFS        30
#define EPIPE        32
#define EDOM         33
#define ERANGE       34
#define ENAMETOOLONG 36
#define ENOSYS       38
#define ENODATA      61
#define ETIME        62
#define EPROTO       71
#define EBADMSG      74
#define EOVERFLOW    75
#define EILSEQ       84
#define EOPNOTSUPP   95
#define ECONNRESET   104
#define ENOTCONN     107
#define ETIMEDOUT    110
#define EHOSTUNREACH 113
#define ECANCELED    125
#endif

/* The words of Linux's strerror() for an error number of either sign; "Unknown error N" else. */
const char *err_text(int err);

#endif
