// Sorts a table's column by bytes. Horizon's own sorter of sizes knows no binary units.
$.tablesorter.addParser({
  id: 'resumableGlanceBytes',
  type: 'numeric',
  is: () => false, // only for columns that name it
  format: (text, table, cell) => Number(cell.querySelector('[data-bytes]')?.dataset.bytes),
})
