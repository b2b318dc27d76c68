/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * traps - 256 entry points of equal size, one path in and out.  Kernel code never uses vector
 * registers here (-mgeneral-regs-only), so only the general ones are saved.
 */
	.text
	.globl trap_entries
	.balign 16
trap_entries:
	vector = 0
	.rept 256
	.balign 16
	.if !(vector == 8 || (vector >= 10 && vector <= 14) || vector == 17 || vector == 21 || \
	      vector == 29 || vector == 30)
	pushq $0
	.endif
	pushq $vector
	jmp trap_common
	vector = vector + 1
	.endr

trap_common:
	pushq %rax
	pushq %rbx
	pushq %rcx
	pushq %rdx
	pushq %rsi
	pushq %rdi
	pushq %rbp
	pushq %r8
	pushq %r9
	pushq %r10
	pushq %r11
	pushq %r12
	pushq %r13
	pushq %r14
	pushq %r15
	cld
	movq %rsp, %rdi
	movq %rsp, %rbx
	andq $-16, %rsp
	call trap_dispatch
	movq %rbx, %rsp
	popq %r15
	popq %r14
	popq %r13
	popq %r12
	popq %r11
	popq %r10
	popq %r9
	popq %r8
	popq %rbp
	popq %rdi
	popq %rsi
	popq %rdx
	popq %rcx
	popq %rbx
	popq %rax
	addq $16, %rsp
	iretq

/* void stack_switch(uint64_t *save_sp, uint64_t load_sp) */
	.globl stack_switch
	.balign 16
stack_switch:
	pushq %rbp
	pushq %rbx
	pushq %r12
	pushq %r13
	pushq %r14
	pushq %r15
	movq %rsp, (%rdi)
	movq %rsi, %rsp
	popq %r15
	popq %r14
	popq %r13
	popq %r12
	popq %rbx
	popq %rbp
	ret

/* void load_segments(const void *gdt_ptr): loads the GDT and its code segment, TSS at 0x18. */
	.globl load_segments
load_segments:
	lgdt (%rdi)
	pushq $8
	leaq 1f(%rip), %rax
	pushq %rax
	lretq
1:	xorl %eax, %eax
	movw %ax, %ss
	movw %ax, %ds
	movw %ax, %es
	movw $0x18, %ax
	ltr %ax
	ret
