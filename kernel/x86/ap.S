/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * ap - how the other cores come up: this page is copied to AP_PAGE, a SIPI starts it in real mode,
 * and it goes straight to long mode on the final page tables.  The words at ap_args are filled in
 * for one core at a time.
 */
#include "kernel/x86/memmap.h"

#define AP_PAGE 0x8000
#define AT(sym) ((sym) - ap_start + AP_PAGE)

	.section .rodata.ap, "a"
	.globl ap_start, ap_end, ap_args
	.balign 16
	.code16
ap_start:
	cli
	xorw %ax, %ax
	movw %ax, %ds
	lgdtl AT(ap_gdt_ptr)
	movl $1, %eax
	movl %eax, %cr0
	ljmpl $8, $AT(ap32)

	.code32
ap32:
	movw $16, %ax
	movw %ax, %ds
	movw %ax, %ss
	movl $0x20, %eax
	movl %eax, %cr4
	movl AT(ap_cr3), %eax
	movl %eax, %cr3
	movl $0xc0000080, %ecx
	rdmsr
	orl $0x900, %eax
	wrmsr
	movl $0x80010001, %eax
	movl %eax, %cr0
	ljmpl $24, $AT(ap64)

	.code64
ap64:
	xorl %eax, %eax
	movw %ax, %ds
	movw %ax, %es
	movw %ax, %ss
	movw %ax, %fs
	movw %ax, %gs
	movq AT(ap_stack), %rsp
	movq AT(ap_cpu), %rdi
	movq AT(ap_entry), %rax
	xorl %ebp, %ebp
	pushq $0
	jmp *%rax

	.balign 8
ap_gdt:
	.quad 0, 0x00cf9a000000ffff, 0x00cf92000000ffff, 0x00af9a000000ffff
ap_gdt_ptr:
	.word 31
	.long AT(ap_gdt)
	.balign 8
ap_args:
ap_cr3:
	.quad 0
ap_stack:
	.quad 0
ap_cpu:
	.quad 0
ap_entry:
	.quad 0
ap_end:
