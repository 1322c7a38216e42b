"""From records of runs to results.csv, table.md, pictures and one page, report.html."""
