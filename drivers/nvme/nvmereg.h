/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * nvmereg - what NVM Express 1.4 fixes: registers, queue entries, identify data, status codes.
 * Section numbers are that document's.  Everything is little endian, as we are.
 */
#ifndef DRIVERS_NVME_NVMEREG_H
#define DRIVERS_NVME_NVMEREG_H

#include "kernel/api/base.h"

#define NVME_PCI_CLASS 0x010802 /* mass storage, non-volatile memory, NVM Express */

/* 3.1: controller registers in BAR 0. */
#define NVME_CAP      0x00 /* 64 bits */
#define NVME_VS       0x08
#define NVME_CC       0x14
#define NVME_CSTS     0x1c
#define NVME_AQA      0x24
#define NVME_ASQ      0x28 /* 64 bits */
#define NVME_ACQ      0x30 /* 64 bits */
#define NVME_DOORBELL 0x1000

#define NVME_CAP_MQES(cap)   ((unsigned)((cap)&0xffff)) /* entries a queue can have, minus 1 */
#define NVME_CAP_TO(cap)     ((unsigned)((cap) >> 24 & 0xff)) /* in half seconds */
#define NVME_CAP_DSTRD(cap)  ((unsigned)((cap) >> 32 & 0xf))  /* doorbells 4 << this apart */
#define NVME_CAP_NVM(cap)    ((unsigned)((cap) >> 37 & 1))    /* has the NVM command set */
#define NVME_CAP_MPSMIN(cap) ((unsigned)((cap) >> 48 & 0xf))  /* smallest page: 4096 << this */

#define NVME_CC_EN         0x1u
#define NVME_CC_IOSQES     (6u << 16) /* log2 of the entry sizes below */
#define NVME_CC_IOCQES     (4u << 20)
#define NVME_CC_SHN_MASK   (3u << 14)
#define NVME_CC_SHN_NORMAL (1u << 14)

#define NVME_CSTS_RDY       0x1u
#define NVME_CSTS_CFS       0x2u /* the controller has died of something */
#define NVME_CSTS_SHST_MASK (3u << 2)
#define NVME_CSTS_SHST_DONE (2u << 2)
#define NVME_GONE           UINT32_MAX /* what a device that left the bus reads as */

/* 4.2: submission queue entry. */
struct nvme_sqe {
	uint32_t cdw0; /* opcode, flags, command id */
	uint32_t nsid;
	uint64_t reserved;
	uint64_t metadata;
	uint64_t dptr[2]; /* PRP1 and PRP2, or one SGL descriptor */
	uint32_t cdw10, cdw11, cdw12, cdw13, cdw14, cdw15;
};

#define NVME_CDW0(op, cid) ((uint32_t)(op) | (uint32_t)(cid) << 16)
#define NVME_CDW0_SGL      (1u << 14) /* dptr is an SGL, metadata pointer a buffer */

/* 4.4: SGL descriptor.  One that fills dptr, or an array of them. */
struct nvme_sgl {
	uint64_t addr;
	uint32_t len;
	uint32_t type; /* the descriptor's last four bytes; the type is in the top ones */
};

#define NVME_SGL_DATA      (0x00u << 24)
#define NVME_SGL_LAST_LIST (0x30u << 24) /* points to the last (here: only) list of descriptors */

/* 4.6: completion queue entry. */
struct nvme_cqe {
	uint32_t result;
	uint32_t reserved;
	uint32_t sq;         /* submission queue head, queue id << 16 */
	uint32_t cid_status; /* command id, then phase (bit 16) and status (bits 17..) */
};

#define NVME_CQE_PHASE 0x10000u

/* Status field as we carry it: code, type << 8, and below the "do not retry" bit. */
#define NVME_STATUS(cid_status) ((cid_status) >> 17)
#define NVME_STATUS_CODE        0x07ffu
#define NVME_STATUS_DNR         0x4000u

/* 4.6.1.2: status codes that mean something to us; type 0 generic, 1 command, 2 media, 3 path. */
enum {
	NVME_SC_INVALID_OPCODE = 0x001,
	NVME_SC_INVALID_FIELD = 0x002,
	NVME_SC_ABORTED = 0x007,
	NVME_SC_INVALID_NS = 0x00b,
	NVME_SC_WRITE_PROTECTED = 0x020,
	NVME_SC_LBA_RANGE = 0x080,
	NVME_SC_CAPACITY = 0x081,
	NVME_SC_NOT_READY = 0x082,
	NVME_SC_READ_ONLY_RANGE = 0x182,
	NVME_SC_WRITE_FAULT = 0x280,
	NVME_SC_READ_ERROR = 0x281,
	NVME_SC_GUARD = 0x282,
	NVME_SC_APP_TAG = 0x283,
	NVME_SC_REF_TAG = 0x284,
	NVME_SC_UNWRITTEN = 0x287,
};

/* 5: admin commands. */
enum {
	NVME_ADMIN_DELETE_SQ = 0x00,
	NVME_ADMIN_CREATE_SQ = 0x01,
	NVME_ADMIN_DELETE_CQ = 0x04,
	NVME_ADMIN_CREATE_CQ = 0x05,
	NVME_ADMIN_IDENTIFY = 0x06,
	NVME_ADMIN_ABORT = 0x08,
	NVME_ADMIN_SET_FEATURES = 0x09,
};

#define NVME_QUEUE_CONTIGUOUS 0x1u /* create queue, cdw11 */
#define NVME_CQ_INTERRUPTS    0x2u
#define NVME_IDENTIFY_NS      0x00u /* CNS */
#define NVME_IDENTIFY_CTRL    0x01u
#define NVME_IDENTIFY_ACTIVE  0x02u
#define NVME_FEATURE_QUEUES   0x07u

/* 6: NVM commands. */
enum {
	NVME_CMD_FLUSH = 0x00,
	NVME_CMD_WRITE = 0x01,
	NVME_CMD_READ = 0x02,
	NVME_CMD_WRITE_ZEROES = 0x08,
	NVME_CMD_DATASET = 0x09,
};

#define NVME_RW_FUA             (1u << 30) /* cdw12 */
#define NVME_DATASET_DEALLOCATE 0x4u       /* cdw11 */

/* 6.7: one range of a dataset management command. */
struct nvme_range {
	uint32_t attributes;
	uint32_t nr_blocks;
	uint64_t block;
};

/* 5.15.2.2: identify controller, the fields we read. */
struct nvme_id_ctrl {
	uint16_t vid, ssvid;
	char sn[20];
	char mn[40];
	char fr[8];
	uint8_t skip72[5];
	uint8_t mdts; /* largest transfer: 4096 << mdts bytes, 0 = no limit */
	uint8_t skip78[434];
	uint8_t sqes; /* low nibble: log2 of the required entry size */
	uint8_t cqes;
	uint16_t maxcmd;
	uint32_t nn; /* highest namespace id */
	uint16_t oncs;
	uint16_t fuses;
	uint8_t fna;
	uint8_t vwc; /* bit 0: a volatile write cache is there */
	uint8_t skip526[10];
	uint32_t sgls;
	uint8_t skip540[3556];
} __packed;

#define NVME_ONCS_DATASET      0x4u
#define NVME_ONCS_WRITE_ZEROES 0x8u
#define NVME_SGLS_MASK         0x3u /* 1: supported, 2: supported, dword aligned */

/* 5.15.2.1: identify namespace, the fields we read. */
struct nvme_id_ns {
	uint64_t nsze; /* logical blocks */
	uint64_t ncap, nuse;
	uint8_t nsfeat;
	uint8_t nlbaf; /* formats, minus 1 */
	uint8_t flbas; /* bits 0..3: the format in use */
	uint8_t mc, dpc, dps, nmic, rescap, fpi, dlfeat;
	uint16_t nawun, nawupf, nacwu, nabsn, nabo, nabspf;
	uint16_t noiob; /* logical blocks; 0 = no boundary */
	uint8_t nvmcap[16];
	uint16_t npwg, npwa, npdg, npda, nows; /* logical blocks, minus 1 */
	uint8_t skip74[25];
	uint8_t nsattr; /* bit 0: write protected */
	uint16_t nvmsetid, endgid;
	uint8_t nguid[16];
	uint8_t eui64[8];
	struct {
		uint16_t ms;   /* bytes of metadata a block */
		uint8_t lbads; /* log2 of the block's bytes */
		uint8_t rp;
	} lbaf[16];
	uint8_t skip192[3904];
} __packed;

#define NVME_NSFEAT_OPTPERF 0x10u /* npwg, npwa, npdg, npda and nows mean something */
#define NVME_DPS_TYPE       0x7u

_Static_assert(sizeof(struct nvme_sqe) == 64, "4.2");
_Static_assert(sizeof(struct nvme_sgl) == 16, "4.4");
_Static_assert(sizeof(struct nvme_cqe) == 16, "4.6");
_Static_assert(sizeof(struct nvme_range) == 16, "6.7");
_Static_assert(sizeof(struct nvme_id_ctrl) == 4096, "5.15.2.2");
_Static_assert(offsetof(struct nvme_id_ctrl, mdts) == 77, "5.15.2.2");
_Static_assert(offsetof(struct nvme_id_ctrl, nn) == 516, "5.15.2.2");
_Static_assert(offsetof(struct nvme_id_ctrl, vwc) == 525, "5.15.2.2");
_Static_assert(offsetof(struct nvme_id_ctrl, sgls) == 536, "5.15.2.2");
_Static_assert(sizeof(struct nvme_id_ns) == 4096, "5.15.2.1");
_Static_assert(offsetof(struct nvme_id_ns, noiob) == 46, "5.15.2.1");
_Static_assert(offsetof(struct nvme_id_ns, npwg) == 64, "5.15.2.1");
_Static_assert(offsetof(struct nvme_id_ns, nsattr) == 99, "5.15.2.1");
_Static_assert(offsetof(struct nvme_id_ns, nguid) == 104, "5.15.2.1");
_Static_assert(offsetof(struct nvme_id_ns, lbaf) == 128, "5.15.2.1");

#endif
