# SPDX-License-Identifier: GPL-2.0-only
"""How the initial state of a scenario is built, before any of its threads runs.

Sizes that belong together: nr_Frame and nr_Folio are equal, folio i is in frame i; nr_Table and nr_ptdesc are equal;
nr_pte_p is nr_Table · PTRS_PER_PTE; nr_pmd_p is nr_mm_struct · PTRS_PER_PMD, and PTRS_PER_PMD · PTRS_PER_PTE is
NR_PAGES or more; nr_Disk is nr_address_space; nr_task_struct is NR_THREADS; nr_call_single_queue is NR_CPUS;
nr_tlb_marks is NR_CPUS · NR_PAGES; GATHER_BATCHES is MAX_GATHER_BATCH_COUNT + 1, and GATHER_ENTRIES is GATHER_BATCHES
· MAX_GATHER_BATCH, where MAX_GATHER_BATCH is not below MMU_GATHER_BUNDLE. A gather's batch is full one entry early.
ISOLATED_MAX is FILE_PAGES, or with LRU_LISTS as many pages as all files have; a PTE table's entries are not more.
SCOPE_MAX has a bit for each page and each upper entry, and REQUESTS_MAX as many for each CPU.
"""

from asm.mmu import mm_context_t
from asm.pgalloc import pmd_populate
from asm.pgtable import (
    pfn_pte,
    pmd_none,
    pmd_pfn,
    pte_mkclean,
    pte_mkdirty,
    pte_mkold,
    pte_mkwrite,
    pte_mkyoung,
    pte_pmd,
    pte_swp_mkexclusive,
    pte_wrprotect,
)  # fmt: skip
from asm.pgtable_types import PTRS_PER_PMD, PTRS_PER_PTE, pmd_p, pte_p, pte_t
from boot import boot_cpu, boot_elsewhere, boot_tlb
from driver import vmw_bo_dirty
from hw.memory import Addr, CpuNr, Disk, Frame, SwapDisk, Value
from linux.fs import address_space
from linux.huge_mm import HPAGE_PMD_NR
from linux.memcontrol import mem_cgroup
from linux.mm import VM_LOCKED, VM_PFNMAP, VM_SOFTDIRTY, is_cow_mapping
from linux.mm_types import (
    MM_ANONPAGES,
    MM_FILEPAGES,
    MM_SWAPENTS,
    Folio,
    mm_struct,
    ptdesc,
    swp_entry_t,
    vm_area_struct,
    vm_flags_t,
)  # fmt: skip
from linux.mmzone import zone
from linux.page_flags import folio_test_large, page_folio
from linux.sched import task_struct
from linux.swapops import swp_entry_to_pte
from linux.types import FILE_PAGES, pgoff_t
from mm.internal import anon_vma
from mm.mmap import vma_set_page_prot
from mm.page_counter import PAGE_COUNTER_MAX
from mm.rmap import ENTIRELY_MAPPED
from mm.swap import folio_add_lru
from mm.swapfile import swap_cluster_info
from mm.vma import vma_wants_writenotify
from stubs.memory import Buddy

from ptelab.lang import at, index_of, nr, pool, u4


def setup_mm(mm: mm_struct) -> None:
    """An address space without VMAs."""
    mm.context = at(mm_context_t, index_of(mm))
    mm.pgd = at(pmd_p, index_of(mm) * PTRS_PER_PMD)


def setup_cpu(cpu: CpuNr, mm: mm_struct) -> None:
    """Let a CPU have an mm loaded.  A CPU that only kernel threads run on has none."""
    mm.mm_users += 1
    boot_cpu(cpu, mm)
    mm.cpu_bitmap = mm.cpu_bitmap | (1 << cpu)


def setup_elsewhere(cpu: CpuNr, mm: mm_struct, active_mm: mm_struct) -> None:
    """Let a CPU have another mm loaded than that of its column, which it has had and was flushed of since."""
    setup_cpu(cpu, mm)
    mm.cpu_bitmap = mm.cpu_bitmap & ~(1 << cpu)
    active_mm.cpu_bitmap = active_mm.cpu_bitmap | (1 << cpu)
    boot_elsewhere(cpu, mm, active_mm)


def setup_task(thread: u4, cpu: CpuNr, mm: mm_struct | None) -> None:
    """Let a thread be a task of an mm, or a kernel thread without one."""
    if mm is not None:
        at(task_struct, thread).mm = mm


def setup_file(mapping: address_space, stable_writes: bool, shmem: bool) -> None:
    """A file.  `stable_writes`: its pages must not change while they are written back.  `shmem`: they never are."""
    mapping.AS_STABLE_WRITES = stable_writes
    mapping.shmem = shmem


def setup_device(mapping: address_space) -> None:
    """The memory of a driver, none of it dirty.  `start` after `end` says that nothing is recorded."""
    at(vmw_bo_dirty, index_of(mapping)).start = FILE_PAGES


def setup_device_page(mapping: address_space, pgoff: pgoff_t, folio: Folio, value: Value) -> None:
    """A frame of a driver: nothing is counted of it."""
    mapping.i_pages[pgoff] = folio
    folio._refcount = 1
    at(Buddy, index_of(folio)).taken = True
    at(Frame, index_of(folio)).data = value
    at(Frame, index_of(folio)).device = True


def setup_file_page(mapping: address_space, pgoff: pgoff_t, folio: Folio, value: Value) -> None:
    """Put a folio into the page cache: read in, clean, and as the disk has it."""
    mapping.i_pages[pgoff] = folio
    if mapping.i_size <= pgoff:
        mapping.i_size = pgoff + 1
    folio.mapping = mapping
    folio.index = pgoff
    folio._refcount = 1
    folio.PG_uptodate = True
    at(Buddy, index_of(folio)).taken = True
    at(Frame, index_of(folio)).data = value
    at(Disk, index_of(mapping)).block[pgoff] = value


def setup_vma(
    vma: vm_area_struct, mm: mm_struct, start: Addr, nr: Addr, mapping: address_space | None, pgoff: pgoff_t,
    vm_flags: vm_flags_t,
) -> None:  # fmt: skip
    """Map a range of a file."""
    vma.vm_start = start
    vma.vm_end = start + nr
    vma.vm_mm = mm
    vma.vm_pgoff = pgoff
    vma.vm_flags = vm_flags | VM_SOFTDIRTY
    for addr in range(start, vma.vm_end):
        mm.mm_mt[addr] = vma
    if mapping is not None:
        vma.vm_file = mapping
        mapping.i_mmap = mapping.i_mmap | (1 << index_of(vma))
    if is_cow_mapping(vm_flags):
        at(anon_vma, 0).rb_root = at(anon_vma, 0).rb_root | (1 << index_of(vma))
    vma_set_page_prot(vma)


def setup_page(folio: Folio, value: Value) -> None:
    """An anonymous page that nothing maps yet."""
    at(Buddy, index_of(folio)).taken = True
    folio.FOLIO_MAPPING_ANON = True
    folio.PG_uptodate = True
    at(Frame, index_of(folio)).data = value


def setup_zero_page() -> None:
    """The zero page, which is never freed."""
    folio = at(Folio, nr(Folio) - 1)
    at(Buddy, index_of(folio)).taken = True
    folio._refcount = 1
    folio.PG_uptodate = True


def setup_anon_pte(
    vma: vm_area_struct, addr: Addr, folio: Folio, write: bool, dirty: bool, young: bool, exclusive: bool
) -> None:
    """Map an anonymous page at an address of a private mapping."""
    folio.index = addr - vma.vm_start + vma.vm_pgoff
    folio.PG_anon_exclusive = exclusive
    setup_entry(vma, addr, folio, write, dirty, young)
    vma.vm_mm.rss_stat[MM_ANONPAGES] += 1


def setup_ksm(folio: Folio) -> None:
    """A page that KSM has merged others into: it is in the stable tree."""
    folio.FOLIO_MAPPING_KSM = True


def setup_swap(slot: swp_entry_t, value: Value) -> None:
    """What a slot in swap holds."""
    at(SwapDisk, 0).block[slot - 1] = value


def setup_swap_pte(vma: vm_area_struct, addr: Addr, slot: swp_entry_t, exclusive: bool) -> None:
    """Let a page of a private mapping be in swap."""
    table = setup_table(vma.vm_mm, addr)
    entry = swp_entry_to_pte(slot)
    at(pte_p, table * PTRS_PER_PTE + addr % PTRS_PER_PTE).pte = pte_swp_mkexclusive(entry) if exclusive else entry
    at(swap_cluster_info, 0).swap_map[slot - 1] += 1
    vma.vm_mm.rss_stat[MM_SWAPENTS] += 1


def setup_table(mm: mm_struct, addr: Addr) -> u4:
    """The PTE table for an address, a new one if there is none."""
    slot = at(pmd_p, index_of(mm.pgd) + addr // PTRS_PER_PTE)
    if not pmd_none(slot.pmd):
        return pmd_pfn(slot.pmd)
    for table in pool(ptdesc):
        if not table.__page_refcount:
            table.__page_refcount = True
            pmd_populate(mm, slot, table)
            return index_of(table)
    assert False
    return 0


def setup_pte(vma: vm_area_struct, addr: Addr, write: bool, dirty: bool, young: bool) -> None:
    """Map what the VMA's file has for an address.

    A dirty entry leaves the folio dirty, as the fault that made it did, and so does a writable one that took a fault.
    """
    mapping = vma.vm_file
    assert mapping is not None
    folio = mapping.i_pages[addr - vma.vm_start + vma.vm_pgoff]
    assert folio is not None
    setup_entry(vma, addr, folio, write, dirty, young)
    if vma.vm_flags & VM_PFNMAP != 0:
        folio._mapcount -= 1
        folio._refcount -= 1
        return
    vma.vm_mm.rss_stat[MM_FILEPAGES] += 1
    if dirty or write and vma_wants_writenotify(vma):
        folio.PG_dirty = True


def setup_entry(vma: vm_area_struct, addr: Addr, folio: Folio, write: bool, dirty: bool, young: bool) -> None:
    """Map a page by an entry that is counted."""
    table = setup_table(vma.vm_mm, addr)
    entry = pfn_pte(index_of(folio), vma.vm_page_prot)
    entry = pte_mkwrite(entry, vma) if write else pte_wrprotect(entry)
    entry = pte_mkdirty(entry) if dirty else pte_mkclean(entry)
    entry = pte_mkyoung(entry) if young else pte_mkold(entry)
    at(pte_p, table * PTRS_PER_PTE + addr % PTRS_PER_PTE).pte = entry
    folio._mapcount += 1
    folio._refcount += 1
    if vma.vm_flags & VM_LOCKED != 0:
        if not folio.PG_mlocked:
            at(zone, 0).NR_MLOCK += 1
        folio.PG_mlocked = True
        folio.PG_unevictable = True
        folio.mlock_count += 1


def setup_huge(vma: vm_area_struct, addr: Addr, write: bool, dirty: bool, young: bool) -> None:
    """Let an upper entry map a huge page of a file, as setup_pte does with an entry of a PTE table."""
    assert PTRS_PER_PTE == 1
    setup_pte(vma, addr, write, dirty, young)
    slot = at(pmd_p, index_of(vma.vm_mm.pgd) + addr)
    table = pmd_pfn(slot.pmd)
    entry = at(pte_p, table).pte
    at(pte_p, table).pte = pte_t()
    at(ptdesc, table).__page_refcount = False
    slot.pmd = pte_pmd(entry)


def setup_anon_huge(
    vma: vm_area_struct, addr: Addr, folio: Folio, write: bool, dirty: bool, young: bool, exclusive: bool
) -> None:  # fmt: skip
    """Let an upper entry map a huge page of anonymous memory, with a table kept for its split.

    If it has several pages they are this one and the next, and LARGE_FOLIOS and FIRST_LARGE say so.
    """
    folio.index = addr - vma.vm_start + vma.vm_pgoff
    folio.PG_anon_exclusive = exclusive
    setup_entry(vma, addr, folio, write, dirty, young)
    assert vma.vm_mm.pmd_huge_pte is None and page_folio(folio) == folio
    if folio_test_large(folio):
        folio._mapcount = 0
        folio._entire_mapcount += 1
        folio._large_mapcount += 1
        folio._nr_pages_mapped = ENTIRELY_MAPPED
    vma.vm_mm.rss_stat[MM_ANONPAGES] += HPAGE_PMD_NR
    slot = at(pmd_p, index_of(vma.vm_mm.pgd) + addr // PTRS_PER_PTE)
    table = pmd_pfn(slot.pmd)
    first = at(pte_p, table * PTRS_PER_PTE + addr % PTRS_PER_PTE)
    entry = first.pte
    first.pte = pte_t()
    vma.vm_mm.pmd_huge_pte = at(ptdesc, table)
    slot.pmd = pte_pmd(entry)


def setup_tlb(cpu: CpuNr, vma: vm_area_struct, addr: Addr, folio: Folio, write: bool, dirty: bool) -> None:
    """Let a CPU's TLB hold a translation."""
    vma.vm_mm.cpu_bitmap = vma.vm_mm.cpu_bitmap | (1 << cpu)
    boot_tlb(cpu, addr, write, dirty, index_of(folio))


def setup_charge(folio: Folio, memcg: mem_cgroup) -> None:
    """Charge a page to a cgroup.  Comes after the entries that map it."""
    folio.memcg_data = memcg
    if folio._mapcount != 0:
        if folio.FOLIO_MAPPING_ANON:
            memcg.NR_ANON_MAPPED += 1
        else:
            memcg.NR_FILE_MAPPED += 1


def setup_lru(folio: Folio, memcg: mem_cgroup) -> None:
    """Charge a page to a cgroup, which has no limit yet, and let it be the youngest of its inactive list."""
    setup_charge(folio, memcg)
    memcg.memory_usage += 1
    memcg.memory_max = PAGE_COUNTER_MAX
    folio_add_lru(folio)
