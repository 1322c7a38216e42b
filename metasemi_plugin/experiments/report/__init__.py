"""From records of runs to results.csv, courses.csv, table.md, pictures and a page, report.html."""
