/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * entry - from the PVH entry point (32-bit, paging off, %ebx = hvm_start_info) to C in long mode.
 * The tables made here map the first GiB twice, at 0 and at IMAGE_BASE; paging_init() replaces them.
 */
#include "kernel/x86/memmap.h"

#define PHYS(sym) ((sym) - 0xffffffff80000000)

	.section .note.pvh, "a"
	.balign 4
	.long 4, 8, 18			/* XEN_ELFNOTE_PHYS32_ENTRY */
	.asciz "Xen"
	.quad PHYS(pvh_start)

	.section .text.boot, "ax"
	.code32
	.globl pvh_start
pvh_start:
	cld
	movl $PHYS(boot_stack_top), %esp
	movl $PHYS(boot_pml4), %edi
	movl $PHYS(boot_pdpt) + 3, (%edi)
	movl $PHYS(boot_pdpt) + 3, 511 * 8(%edi)
	movl $PHYS(boot_pd) + 3, PHYS(boot_pdpt)
	movl $PHYS(boot_pd) + 3, PHYS(boot_pdpt) + 510 * 8
	movl $PHYS(boot_pd), %edi
	movl $0x83, %eax		/* present, writable, 2 MiB */
	movl $512, %ecx
1:	movl %eax, (%edi)
	addl $0x200000, %eax
	addl $8, %edi
	loop 1b
	movl $PHYS(boot_pml4), %eax
	movl %eax, %cr3
	movl $0x20, %eax		/* PAE */
	movl %eax, %cr4
	movl $0xc0000080, %ecx
	rdmsr
	orl $0x900, %eax		/* EFER: LME, NXE */
	wrmsr
	movl %cr0, %eax
	andl $~0x60000000, %eax		/* caches on */
	orl $0x80010001, %eax		/* PG, WP, PE */
	movl %eax, %cr0
	lgdtl PHYS(boot_gdt_ptr)
	ljmpl $8, $PHYS(start64_low)

	.code64
start64_low:
	movabsq $start64, %rax
	jmp *%rax
start64:
	xorl %eax, %eax
	movw %ax, %ds
	movw %ax, %es
	movw %ax, %ss
	movw %ax, %fs
	movw %ax, %gs
	movabsq $boot_stack_top, %rsp
	xorl %ebp, %ebp
	movl %ebx, %edi
	pushq $0
	jmp boot_main

	.balign 8
boot_gdt:
	.quad 0, 0x00af9a000000ffff, 0x00cf92000000ffff
boot_gdt_end:
boot_gdt_ptr:
	.word boot_gdt_end - boot_gdt - 1
	.long PHYS(boot_gdt)

	.bss
	.balign 4096
boot_pml4:
	.skip 4096
boot_pdpt:
	.skip 4096
boot_pd:
	.skip 4096
	.globl boot_stack_top
	.skip 8192
boot_stack_top:
