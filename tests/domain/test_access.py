"""Who may do what with which key: the pure rules, by table and by property."""
